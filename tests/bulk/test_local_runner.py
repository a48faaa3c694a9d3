"""Processes of this machine, and the death of one."""

import os
import signal
import threading
import time
from multiprocessing import active_children

import numpy as np
import pytest

from cde_retrievers.bulk import Worker, run_local
from cde_retrievers.bulk.paths import shard_file
from cde_retrievers.bulk.shard_file import read_shard
from cde_retrievers.errors import CheckpointError, ConfigurationError, PlanError


def vectors_of(plan):
    numbers = range(len(plan.shards))
    return np.concatenate(
        [read_shard(shard_file(plan.directory, number), plan.identity(number)).vectors for number in numbers]
    )


@pytest.mark.slow
def test_workers_and_one_that_is_killed_give_what_one_process_gives(make_plan):
    plan = make_plan(rows_per_shard=1)
    killed = threading.Thread(target=kill_one_worker_when_there_is_a_shard, args=(plan,))
    killed.start()
    report = run_local(plan, 2, show_progress=False)
    killed.join()
    assert (report.embedded + report.were_there, report.lost_workers, report.failed) == (12, 1, {})
    assert active_children() == []
    again = plan.model_copy(update={"directory": plan.directory.with_name("again")})
    (again.directory / "shards").mkdir(parents=True)
    for name in ("inputs", "context"):
        (again.directory / name).symlink_to(plan.directory / name)
    worker = Worker(again)
    for number in range(len(plan.shards)):
        worker.embed(number)
    np.testing.assert_allclose(vectors_of(plan), vectors_of(again), atol=1e-6)


def kill_one_worker_when_there_is_a_shard(plan):
    while not any((plan.directory / "shards").glob("*.parquet")):
        time.sleep(0.001)
    os.kill(next(process.pid for process in active_children() if process.name == "cde-bulk-worker"), signal.SIGKILL)


@pytest.mark.slow
def test_what_every_worker_meets_is_raised(make_plan, tmp_path):
    plan = make_plan().model_copy(update={"model": str(tmp_path / "gone")})
    plan.write(plan.directory)
    with pytest.raises(CheckpointError, match="gone"):
        run_local(plan.directory, 1)
    assert active_children() == []


@pytest.mark.parametrize(
    ("options", "message"), [({"workers": 0}, "workers"), ({"devices": ()}, "devices"), ({"attempts": 0}, "attempts")]
)
def test_impossible_arguments_are_refused(make_plan, options, message):
    with pytest.raises(ConfigurationError, match=message):
        run_local(make_plan(), **options)


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(PlanError, match="holds no plan"):
        run_local(tmp_path)
