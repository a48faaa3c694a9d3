"""A forked process computes with what its parent loaded, and does not hang."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from cde_retrievers.encoder.forked import ForkSafeLock
from cde_retrievers.errors import DeviceError
from cde_retrievers.util.forked import ThreadUse

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FORKED = Path(__file__).parents[1] / "helpers" / "forked.py"


@pytest.mark.parametrize("whose", ["inherited", "own"])
def test_a_forked_worker_searches_as_its_parent_does(model_folder, tmp_path, whose):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    command = [sys.executable, str(FORKED), str(model_folder), str(tmp_path / "index"), whose]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("forked after a model was loaded, and computes with one thread") == 1


def in_child(act) -> int:
    child = os.fork()
    if child == 0:
        os._exit(act())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_lock_that_the_parent_holds_is_free_in_the_child():
    lock = ForkSafeLock()

    def act() -> int:
        with lock:
            return 7

    with lock:
        assert in_child(act) == 7


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused_the_parents_gpu():
    lock = ForkSafeLock(torch.device("cuda"))

    def act() -> int:
        try:
            lock.__enter__()
        except DeviceError as error:
            return 7 if "load the model in each worker" in str(error) else 1
        return 0

    assert in_child(act) == 7


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_only_a_process_forked_from_one_that_computed_begins_after_a_fork_and_does_so_once():
    unused, used = ThreadUse(), ThreadUse()
    assert [used.begins_after_fork(), used.begins_after_fork()] == [False, False]

    def act() -> int:
        seen = [unused.begins_after_fork(), used.begins_after_fork(), used.begins_after_fork()]
        return 7 if seen == [False, True, False] else 1

    assert in_child(act) == 7


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_main_thread_of_a_forked_process_begins_for_itself():
    use = ThreadUse()
    use.begins_after_fork()

    def act() -> int:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(use.begins_after_fork).result()
        return 7 if (first, use.begins_after_fork(), use.begins_after_fork()) == (True, True, False) else 1

    assert in_child(act) == 7
