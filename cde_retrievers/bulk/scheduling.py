"""Giving shards to workers: bounded attempts for each, a failing one does not stop the others."""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cde_retrievers.bulk.outcome import Outcome, ShardDone, ShardFailed
from cde_retrievers.bulk.plan_file import Plan
from cde_retrievers.errors import ShardError
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.numbers import check_whole

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""At one shard: what a lost worker costs is tried again, what fails by itself is soon given up."""
_LOSSES_IN_A_ROW = 10  # of workers, with no shard done in between: then it is the machine, not a shard
_NAMED = 5


class WorkerPool(Protocol):
    """Workers that each have at most one shard at a time."""

    @property
    def size(self) -> int:
        """The number of workers."""

    def start(self, number: int) -> None:
        """Give a shard to an idle worker; there is one."""

    def finished(self) -> Iterable[tuple[Outcome, bool]]:
        """Wait for outcomes; each with whether the worker was lost, in which case another takes its place."""

    def close(self) -> None:
        """End all workers; what they have not finished is left undone."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The result of a run.

    Attributes:
        shards: shards of the plan, or those that were asked for.
        embedded: shards that this run embedded.
        were_there: shards that were complete before.
        rows: rows that this run embedded.
        seconds: of embedding and writing, over all workers.
        cut: texts among these rows that were longer than the model reads.
        lost_workers: workers that died and were replaced.
        failed: why, by the number of the shard.
    """

    shards: int
    embedded: int
    were_there: int
    rows: int
    seconds: float
    cut: int
    lost_workers: int
    failed: dict[int, str] = field(default_factory=dict)

    def raise_if_failed(self) -> None:
        """Raise ShardError, which names the shards and why, if any failed."""
        if self.failed:
            some = "; ".join(f"shard {number}: {reason}" for number, reason in sorted(self.failed.items())[:_NAMED])
            raise ShardError(
                f"{len(self.failed)} of {self.shards} shards could not be embedded ({some}); the others are kept, and "
                f"the same call tries these again"
            )


def run_shards(
    plan: Plan, pool: WorkerPool, shards: Iterable[int] | None, attempts: int, show_progress: bool | None
) -> RunReport:
    """Have a pool embed shards of the plan, and close it; arguments and errors as in `run_local`."""
    check_whole("attempts", attempts, 1)
    numbers = _checked_numbers(plan, shards)
    schedule = _Schedule(plan, numbers, attempts)
    rows = sum(plan.shards[number].rows for number in numbers)
    try:
        with progress_bar(rows, show_progress, "Embedding", "document") as bar:
            while schedule.is_open:
                for number in schedule.next_shards(pool.size):
                    pool.start(number)
                for outcome, was_lost in pool.finished():
                    bar.update(schedule.note(outcome, was_lost))
    finally:
        pool.close()
    return schedule.report()


def _checked_numbers(plan: Plan, shards: Iterable[int] | None) -> Sequence[int]:
    numbers = range(len(plan.shards)) if shards is None else list(dict.fromkeys(shards))
    for number in numbers if shards is not None else ():
        plan.shard(number)
    return numbers


class _Schedule:
    """What is waiting, running, done and failed."""

    def __init__(self, plan: Plan, numbers: Sequence[int], attempts: int) -> None:
        self._plan = plan
        self._numbers = numbers
        self._attempts = attempts
        self._waiting = deque(numbers)
        self._running = 0
        self._tried: Counter[int] = Counter()
        self._done: list[ShardDone] = []
        self._failed: dict[int, str] = {}
        self._lost = self._lost_in_a_row = 0

    @property
    def is_open(self) -> bool:
        return bool(self._waiting or self._running)

    def next_shards(self, workers: int) -> list[int]:
        """Take as many shards as there are idle workers."""
        taken = [self._waiting.popleft() for _ in range(min(workers - self._running, len(self._waiting)))]
        self._running += len(taken)
        return taken

    def note(self, outcome: Outcome, was_lost: bool) -> int:
        """Take note of an outcome; return the number of rows that are settled by it.

        Raises:
            CDEError: an error that every other shard would meet too.
            ShardError: workers die one after another.
        """
        self._running -= 1
        self._lost += was_lost
        self._lost_in_a_row = self._lost_in_a_row + 1 if was_lost else 0
        if isinstance(outcome, ShardDone):
            self._done.append(outcome)
            return outcome.rows
        if outcome.error is not None:
            raise outcome.error
        if self._lost_in_a_row == _LOSSES_IN_A_ROW:
            raise ShardError(
                f"{_LOSSES_IN_A_ROW} workers in a row died before they had finished a shard, the last with: "
                f"{outcome.reason}; look for the reason, such as too little memory, then run the plan again: "
                f"{len(self._done)} of {len(self._numbers)} shards are done and kept"
            )
        return self._tried_again(outcome)

    def _tried_again(self, outcome: ShardFailed) -> int:
        self._tried[outcome.number] += 1
        if self._tried[outcome.number] < self._attempts:
            logger.info("shard %d failed and is tried again: %s", outcome.number, outcome.reason)
            self._waiting.append(outcome.number)
            return 0
        logger.warning("shard %d failed %d times: %s", outcome.number, self._attempts, outcome.reason)
        self._failed[outcome.number] = outcome.reason
        return self._plan.shards[outcome.number].rows

    def report(self) -> RunReport:
        new = [done for done in self._done if not done.was_there]
        cut = sum(done.cut for done in new)
        rows = sum(done.rows for done in new)
        if cut:
            logger.warning(
                "%d of %d texts are longer than the model reads and were cut; split long texts before they are "
                "embedded, or use a model that reads longer ones",
                cut,
                rows,
            )
        return RunReport(
            shards=len(self._numbers),
            embedded=len(new),
            were_there=len(self._done) - len(new),
            rows=rows,
            seconds=sum(done.seconds for done in new),
            cut=cut,
            lost_workers=self._lost,
            failed=self._failed,
        )
