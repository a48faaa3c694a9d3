"""Workers that are actors of a Ray cluster.

Ray places processes on many machines, and is not used for the data: each actor reads its rows and writes its shard
itself. Whether a shard is done is a matter of its file, so nothing depends on what Ray keeps or restarts.
"""

import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from cde_retrievers.bulk.outcome import Outcome, ShardFailed
from cde_retrievers.bulk.plan_file import Plan, loaded_plan
from cde_retrievers.bulk.scheduling import ATTEMPTS, RunReport, run_shards
from cde_retrievers.bulk.shard_file import require_parquet
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated

logger = logging.getLogger(__name__)

_SECONDS_TO_ANSWER = 5.0
_SECONDS_TO_PLACE = 60.0
_NICENESS = "RAY_worker_niceness"  # 15 if not set: behind everything else on the machine


@validated
def run_ray(
    plan: Plan | str | Path,
    workers: int | None = None,
    *,
    address: str | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    shards: Iterable[int] | None = None,
    attempts: int = ATTEMPTS,
    show_progress: bool | None = None,
) -> RunReport:
    """Embed what is not embedded yet, in actors of a Ray cluster whose machines all see the plan's directory.

    After any interruption, of this program too, the same call continues with what is missing.

    Args:
        plan: the plan, or its directory, by a path that is the same on every machine.
        workers: number of actors; None for as many as the cluster holds when one CPU is left for other work.
        address: of a running cluster, or "auto" for that of this machine. If None, the cluster that the program is
            connected to, or else one that is started here and ended with the call.
        num_cpus: CPUs that Ray reserves for an actor.
        num_gpus: GPUs for an actor; less than 1 shares one. Without GPUs an actor computes on the CPU.
        shards: numbers of the shards to embed; all if None.
        attempts: at one shard, before it counts as failed.
        show_progress: None shows a bar for long work only.

    Returns:
        What was done, and which shards failed; see `RunReport.raise_if_failed`.

    Raises:
        ConfigurationError: there is no cluster at `address`, or it does not hold so many workers, which would wait for
            ever; or as `run_local`.
        MissingDependencyError: ray or pyarrow is not installed; names the extra.
        CDEError: as `run_local`.
    """
    ray = imported("ray", "run_ray()", extra="ray")
    require_parquet()
    known = loaded_plan(plan)
    with _connected(ray, address):
        size = _pool_size(ray.cluster_resources(), workers, num_cpus, num_gpus)
        pool = RayPool(ray, known.directory, size, {"num_cpus": num_cpus, "num_gpus": num_gpus})
        return run_shards(known, pool, shards, attempts, show_progress)


@contextmanager
def _connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        if address is not None:
            raise ConfigurationError(
                f"this program is connected to a Ray cluster already, found address={address!r} besides; leave it out, "
                f"or call ray.shutdown() first"
            )
        yield
        return
    if address is None:
        _start(ray)
    else:
        _connect(ray, address)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, address: str) -> None:
    try:
        _check_that_something_listens(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"there is no Ray cluster at {address!r} ({error}); start one with `ray start --head` and give its "
            f"host:port, or 'auto' on its machine, or leave address out"
        ) from error


def _check_that_something_listens(address: str) -> None:
    """Raise OSError, OverflowError or ValueError unless it does; Ray itself would try for minutes."""
    scheme, _, place = address.rpartition("://")
    if address in ("auto", "local") or scheme not in ("", "ray"):
        return
    host, _, port = place.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER):
        pass


def _start(ray: ModuleType) -> None:
    """Start a cluster of this machine alone, whose workers are as nice as this program."""
    before = os.environ.get(_NICENESS)
    os.environ[_NICENESS] = before or "0"
    try:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    finally:
        if before is None:
            del os.environ[_NICENESS]


def _pool_size(resources: dict[str, float], workers: int | None, num_cpus: float, num_gpus: float) -> int:
    """Return the number of actors.

    Raises:
        ConfigurationError: the cluster does not hold so many, or not one.
    """
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if num_cpus < 0 or num_gpus < 0 or num_cpus + num_gpus == 0:
        raise ConfigurationError(f"a worker needs CPUs or GPUs, found num_cpus={num_cpus}, num_gpus={num_gpus}")

    def held(cpus: float) -> int:
        rooms = [free // each for free, each in ((cpus, num_cpus), (gpus, num_gpus)) if each]
        return int(min(rooms))

    if workers is None:
        workers = max(held(cpus - 1), min(held(cpus), 1))
    else:
        check_whole("workers", workers, 1)
    if not 1 <= workers <= held(cpus):
        raise ConfigurationError(
            f"the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, which hold {held(cpus)} workers of {num_cpus:g} "
            f"CPUs and {num_gpus:g} GPUs, found workers={workers}: the others would wait for ever; ask for fewer, or "
            f"add machines first"
        )
    return workers


class RayPool:
    """Actors that are made when they are needed, and again when they die.

    Args:
        ray: the module, connected.
        plan: directory of the plan.
        size: number of actors.
        resources: of an actor, as Ray names them.
    """

    def __init__(self, ray: ModuleType, plan: Path, size: int, resources: dict[str, float]) -> None:
        self.size = size
        self._ray = ray
        self._plan = str(plan)
        # Ray would start an actor again with what it keeps of it; ours starts from the path.
        self._actors = ray.remote(RayWorker).options(**resources, max_restarts=0)
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, int]] = {}
        self._was_placed = False

    def start(self, number: int) -> None:
        """Give a shard to an idle actor, or to a new one."""
        actor = self._idle.pop() if self._idle else self._actors.remote(self._plan)
        self._busy[actor.attempt.remote(number)] = actor, number

    def finished(self) -> Iterable[tuple[Outcome, bool]]:
        """Wait for an outcome."""
        for reference in self._ready():
            actor, number = self._busy.pop(reference)
            try:
                outcome: Outcome = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                self._ray.kill(actor)
                yield ShardFailed(number, f"the worker died ({_first_line(error)})"), True
                continue
            if isinstance(outcome, ShardFailed):  # what a GPU refused once, it may refuse from then on
                self._ray.kill(actor)
            else:
                self._idle.append(actor)
            yield outcome, False

    def close(self) -> None:
        """End all actors."""
        for actor in (*self._idle, *(actor for actor, _ in self._busy.values())):
            self._ray.kill(actor)

    def _ready(self) -> list[Any]:
        while True:
            ready: list[Any]
            ready, _ = self._ray.wait(list(self._busy), timeout=_SECONDS_TO_PLACE)
            if ready:
                self._was_placed = True
                return ready
            if not self._was_placed:
                self._was_placed = True
                logger.warning("no shard is finished yet; if other jobs use the Ray cluster, the workers wait for them")


class RayWorker:
    """An actor; it loads everything by path when its first shard comes.

    Args:
        plan: directory of the plan.
    """

    def __init__(self, plan: str) -> None:
        self._plan = plan
        self._attempt: Any = None

    def attempt(self, number: int) -> Outcome:
        """Attempt a shard."""
        if self._attempt is None:
            from cde_retrievers.bulk.worker import attempts_at

            self._attempt = attempts_at(self._plan, "auto")
        outcome: Outcome = self._attempt(number)
        return outcome


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
