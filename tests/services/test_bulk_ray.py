"""Embedding in bulk on a Ray cluster of this machine, started here and ended again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from servers import OVER_SERVERS
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
from cde_retrievers.bulk import Plan, Worker, plan, run_ray
from cde_retrievers.bulk.paths import shard_file
from cde_retrievers.bulk.ray_runner import _NICENESS, _start
from cde_retrievers.bulk.shard_file import read_shard
from cde_retrievers.errors import CheckpointError, ConfigurationError

pytestmark = OVER_SERVERS


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def made(model_folder, tmp_path):
    encoder = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    context = encoder.fit_context(CORPUS, show_progress=False)
    return plan(CORPUS, model_folder, context, tmp_path / "plan", 3, device="cpu", dtype="float32")


def vectors_of(made):
    numbers = range(len(made.shards))
    return np.concatenate(
        [read_shard(shard_file(made.directory, number), made.identity(number)).vectors for number in numbers]
    )


def kill_a_worker_after_a_shard(made):
    while not any((made.directory / "shards").glob("*.parquet")):
        time.sleep(0.01)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::RayWorker"):
            os.kill(int(entry.name), signal.SIGKILL)
            return


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes as Linux shows them")
def test_two_workers_and_one_that_is_killed_give_what_one_process_gives(cluster, made, tmp_path):
    killer = threading.Thread(target=kill_a_worker_after_a_shard, args=(made,))
    killer.start()
    report = run_ray(made, 2, show_progress=False)
    killer.join()
    assert (report.embedded + report.were_there, report.lost_workers, report.failed) == (18, 1, {})
    shutil.copytree(made.directory, tmp_path / "one", ignore=shutil.ignore_patterns("*.parquet"))
    worker = Worker(Plan.load(tmp_path / "one"))
    for number in range(len(made.shards)):
        worker.embed(number)
    np.testing.assert_allclose(vectors_of(made), vectors_of(worker.plan), atol=1e-5)
    assert run_ray(made, 1, show_progress=False).were_there == 18


def test_what_every_worker_meets_is_raised_as_it_is(cluster, made, tmp_path):
    made.model_copy(update={"model": str(tmp_path / "gone")}).write(made.directory)
    with pytest.raises(CheckpointError, match="gone"):
        run_ray(made.directory, 1)


def test_a_failing_shard_is_reported_while_the_others_are_embedded(cluster, made):
    path = made.directory / "inputs" / "00004.jsonl"
    path.write_text(path.read_text().replace(" in the ", " on the "))
    report = run_ray(made, 1, attempts=1, show_progress=False)
    assert report.failed.keys() == {4}
    assert "has changed since the plan was made" in report.failed[4]
    assert report.embedded == 17


def test_more_workers_than_the_cluster_holds_are_refused(cluster, made):
    with pytest.raises(ConfigurationError, match=r"2 CPUs and 0 GPUs, which hold 2 workers .* found workers=3"):
        run_ray(made, 3)
    with pytest.raises(ConfigurationError, match="hold 0 workers"):
        run_ray(made, num_gpus=1)


def test_an_address_besides_a_connection_is_refused(cluster, made):
    with pytest.raises(ConfigurationError, match="connected to a Ray cluster already"):
        run_ray(made, address="auto")


NICENESS = """
import os
import ray
from cde_retrievers.bulk.ray_runner import _connected

class Actor:
    def niceness(self):
        return os.getpriority(os.PRIO_PROCESS, 0)

with _connected(ray, None):
    print(ray.get(ray.remote(Actor).remote().niceness.remote()))
"""


def test_actors_of_a_cluster_that_is_started_are_as_nice_as_the_program():
    environment = {name: value for name, value in os.environ.items() if name != "RAY_worker_niceness"}
    command = [sys.executable, "-c", NICENESS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize(("asked", "told"), [(None, "0"), ("3", "3")])
def test_ray_is_told_how_nice_unless_the_user_did(monkeypatch, asked, told):
    seen = []
    if asked is None:
        monkeypatch.delenv(_NICENESS, raising=False)
    else:
        monkeypatch.setenv(_NICENESS, asked)
    _start(SimpleNamespace(init=lambda **_: seen.append(os.environ[_NICENESS])))
    assert (seen, os.environ.get(_NICENESS)) == ([told], asked)


def test_the_command_says_at_once_that_there_is_no_cluster_at_an_address(made):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        command = [sys.executable, "-m", "cde_retrievers.cli", "bulk", "run", str(made.directory)]
        options = ["--runner", "ray", "--address", address]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert f"there is no Ray cluster at '{address}'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_takes_the_address_of_a_cluster(cluster, made):
    address = cluster.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "cde_retrievers.cli", "bulk", "run", str(made.directory)]
    options = ["--runner", "ray", "--address", address, "--workers", "2", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["embedded"], json.loads(done.stdout)["failed"]) == (18, {})
    assert cluster.is_initialized()
    assert run_ray(made, 1, show_progress=False).were_there == 18
