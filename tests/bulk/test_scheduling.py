"""Every shard is tried a bounded number of times, and a failing one does not stop the others."""

import logging
from collections import Counter

import pytest

from cde_retrievers.bulk.outcome import ShardDone, ShardFailed
from cde_retrievers.bulk.scheduling import run_shards
from cde_retrievers.errors import ConfigurationError, ShardError, WriteError


class Pool:
    """Two workers; `answer` says what becomes of a shard at an attempt."""

    size = 2

    def __init__(self, answer):
        self.answer = answer
        self.running = []
        self.attempts = Counter()
        self.is_closed = False

    def start(self, number):
        assert len(self.running) < self.size
        self.running.append(number)

    def finished(self):
        assert self.running, "waiting for nothing would never end"
        number = self.running.pop()
        self.attempts[number] += 1
        result = self.answer(number, self.attempts[number])
        if isinstance(result, BaseException):
            raise result
        yield result if isinstance(result, tuple) else (result, False)

    def close(self):
        self.is_closed = True


def done(number, attempt=1):
    return ShardDone(number, 5 if number < 2 else 2, seconds=1.0)


def died(number):
    return ShardFailed(number, "the worker died (SIGKILL)"), True


@pytest.fixture
def plan(make_plan):
    return make_plan()


def test_every_shard_is_done_once(plan):
    pool = Pool(done)
    report = run_shards(plan, pool, None, 3, False)
    assert pool.attempts == {0: 1, 1: 1, 2: 1}
    assert (report.shards, report.embedded, report.rows, report.seconds, report.failed) == (3, 3, 12, 3.0, {})
    assert pool.is_closed


def test_some_shards_only(plan):
    pool = Pool(done)
    assert run_shards(plan, pool, [2, 0, 2], 3, False).shards == 2
    assert pool.attempts == {0: 1, 2: 1}


def test_a_number_that_the_plan_has_not_is_refused_before_any_work(plan):
    pool = Pool(done)
    with pytest.raises(ConfigurationError, match="shards 0 to 2"):
        run_shards(plan, pool, [0, 3], 3, False)
    assert not pool.attempts


@pytest.mark.parametrize("attempts", [0, -1, 1.5])
def test_attempts_are_at_least_one(plan, attempts):
    with pytest.raises(ConfigurationError, match="attempts"):
        run_shards(plan, Pool(done), None, attempts, False)


def test_a_lost_worker_costs_an_attempt(plan):
    pool = Pool(lambda number, attempt: died(number) if number == 1 and attempt < 3 else done(number))
    report = run_shards(plan, pool, None, 3, False)
    assert (report.embedded, report.lost_workers, report.failed) == (3, 2, {})


def test_a_failing_shard_is_given_up_and_the_others_go_on(plan, caplog):
    pool = Pool(lambda number, attempt: ShardFailed(1, "it arises at document 'x'") if number == 1 else done(number))
    with caplog.at_level(logging.WARNING):
        report = run_shards(plan, pool, None, 2, False)
    assert report.failed == {1: "it arises at document 'x'"}
    assert report.embedded == 2
    assert pool.attempts[1] == 2
    assert "shard 1 failed 2 times: it arises at document 'x'" in caplog.text
    with pytest.raises(ShardError, match=r"1 of 3 shards could not be embedded \(shard 1: it arises"):
        report.raise_if_failed()


def test_what_every_shard_would_meet_ends_the_run(plan):
    pool = Pool(lambda number, attempt: ShardFailed(number, "full", WriteError("the disk is full")))
    with pytest.raises(WriteError, match="disk is full"):
        run_shards(plan, pool, None, 3, False)
    assert sum(pool.attempts.values()) == 1
    assert pool.is_closed


def test_workers_that_die_one_after_another_end_the_run(make_plan):
    pool = Pool(lambda number, attempt: died(number))
    with pytest.raises(ShardError, match="10 workers in a row died"):
        run_shards(make_plan(rows_per_shard=1), pool, None, 3, False)
    assert sum(pool.attempts.values()) == 10


def test_an_interruption_closes_the_pool(plan):
    pool = Pool(lambda number, attempt: KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_shards(plan, pool, None, 3, False)
    assert pool.is_closed


def test_shards_that_were_there_are_counted_apart(plan):
    report = run_shards(plan, Pool(lambda number, attempt: ShardDone(number, 5, was_there=True)), None, 3, False)
    assert (report.embedded, report.were_there, report.rows) == (0, 3, 0)


def test_cut_texts_are_said_once(plan, caplog):
    pool = Pool(lambda number, attempt: ShardDone(number, 5, cut=2))
    with caplog.at_level(logging.WARNING):
        assert run_shards(plan, pool, None, 3, False).cut == 6
    assert caplog.messages == [
        "6 of 15 texts are longer than the model reads and were cut; split long texts before they are embedded, or "
        "use a model that reads longer ones"
    ]
