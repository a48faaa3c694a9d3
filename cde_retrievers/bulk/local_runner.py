"""Workers that are processes of this machine."""

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import RLock

from cde_retrievers.bulk.outcome import Outcome, ShardFailed
from cde_retrievers.bulk.plan_file import Plan, loaded_plan
from cde_retrievers.bulk.scheduling import ATTEMPTS, RunReport, run_shards
from cde_retrievers.bulk.shard_file import require_parquet
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated

# A process that forks after torch has started threads may hang.
_PROCESSES = get_context("spawn")
_SECONDS_TO_END = 5.0


@validated
def run_local(
    plan: Plan | str | Path,
    workers: int = 1,
    *,
    devices: Sequence[str] = ("auto",),
    shards: Iterable[int] | None = None,
    attempts: int = ATTEMPTS,
    show_progress: bool | None = None,
) -> RunReport:
    """Embed what is not embedded yet, in processes of this machine.

    After any interruption the same call continues with what is missing. Several calls, on one machine or on many, may
    run at once: each shard is there once in the end. A program that calls this needs `if __name__ == "__main__":`,
    since its workers import it.

    Args:
        plan: the plan, or its directory.
        workers: number of processes, each with its own copy of the model.
        devices: one for each worker, in turn; ("cuda:0", "cuda:1") for two GPUs.
        shards: numbers of the shards to embed; all if None.
        attempts: at one shard, before it counts as failed.
        show_progress: None shows a bar for long work only.

    Returns:
        What was done, and which shards failed; see `RunReport.raise_if_failed`.

    Raises:
        PlanError: the plan is missing or damaged.
        ConfigurationError: the plan has no shard of a number, or an argument is impossible.
        ContextMismatchError, CheckpointError, ContextFileError, DeviceError: model or context cannot be used here.
        WriteError: the disk is full, or shards cannot be written there; those that are complete are kept.
        ShardError: workers die one after another.
        MissingDependencyError: pyarrow is not installed; names the extra.
    """
    check_whole("workers", workers, 1)
    if not devices:
        raise ConfigurationError("devices must name at least one device; ('auto',) is the default")
    require_parquet()
    known = loaded_plan(plan)
    pool = LocalPool(known.directory, workers, devices)
    return run_shards(known, pool, shards, attempts, show_progress)


class LocalPool:
    """Processes that are started when they are needed, and again when they die.

    Args:
        plan: directory of the plan.
        size: number of processes.
        devices: their devices, in turn.
    """

    def __init__(self, plan: Path, size: int, devices: Sequence[str]) -> None:
        self.size = size
        self._plan = plan
        self._threads = max(1, (os.cpu_count() or 1) // size)
        self._idle_devices = [devices[place % len(devices)] for place in reversed(range(size))]
        self._idle: list[_Process] = []
        self._busy: dict[Connection, tuple[_Process, int]] = {}

    def start(self, number: int) -> None:
        """Give a shard to an idle process, or to a new one."""
        process = self._idle.pop() if self._idle else self._started()
        with suppress(OSError):  # if it died while it was idle: `finished` sees that
            process.connection.send(number)
        self._busy[process.connection] = process, number

    def finished(self) -> Iterable[tuple[Outcome, bool]]:
        """Wait for outcomes."""
        for ready in wait(list(self._busy)):
            assert isinstance(ready, Connection)
            process, number = self._busy.pop(ready)
            try:
                outcome: Outcome = ready.recv()
            except (EOFError, OSError):
                yield ShardFailed(number, f"the worker died ({_ending(self._replace(process))})"), True
                continue
            if isinstance(outcome, ShardFailed):  # what a GPU refused once, it may refuse from then on
                self._replace(process)
            else:
                self._idle.append(process)
            yield outcome, False

    def close(self) -> None:
        """End all processes."""
        for process, _ in self._busy.values():
            process.terminate()
        for process in (*self._idle, *(process for process, _ in self._busy.values())):
            process.end()

    def _replace(self, process: "_Process") -> int | None:
        """End a process, so that a new one takes its place; return its exit code."""
        self._idle_devices.append(process.device)
        return process.end()

    def _started(self) -> "_Process":
        return _Process(self._plan, self._idle_devices.pop(), self._threads)


class _Process:
    """One worker process and the connection to it."""

    def __init__(self, plan: Path, device: str, threads: int) -> None:
        self.device = device
        self.connection, theirs = _PROCESSES.Pipe()
        self._process: BaseProcess = _PROCESSES.Process(
            target=_serve, args=(theirs, str(plan), device, threads), name="cde-bulk-worker", daemon=True
        )
        self._process.start()
        theirs.close()  # so that its death ends the connection

    def terminate(self) -> None:
        """End the process although it is at work."""
        self._process.terminate()

    def end(self) -> int | None:
        """Wait for the process, which ends when its connection does, or end it; return its exit code."""
        self.connection.close()
        self._process.join(_SECONDS_TO_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode
        self._process.close()
        return code


def _serve(connection: Connection, plan: str, device: str, threads: int) -> None:
    """Embed the shards whose numbers come, until the other side is gone."""
    import torch
    from tqdm import tqdm

    from cde_retrievers.bulk.worker import attempts_at

    tqdm.set_lock(RLock())  # its own is a semaphore of the system, which a killed process would leave behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the process that waits ends the others
    torch.set_num_threads(threads)
    attempt = attempts_at(plan, device)
    with suppress(EOFError, OSError):
        while True:
            connection.send(attempt(connection.recv()))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"{signal.Signals(-code).name}; the system kills with SIGKILL where memory runs out"
    return f"exit code {code}"
