"""Embedding documents in several processes: each loads the model and is given the context once.

Processes and the parent talk over a pipe each: a worker says that it is ready, gets texts, answers with vectors, and so
on until its end of the pipe is closed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.cut_texts import counted_cut_texts, cut_texts_told_once
from cde_retrievers.encoder.device import resolve_device
from cde_retrievers.errors import ConfigurationError, WorkerError, shown
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.vectors import Embeddings

# Texts that a worker is given at once: enough to batch well. Small inputs are cut finer, for workers to end together.
_MOST_TEXTS = 2_048
_PARTS_OF_A_WORKER = 4


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the workers embed under, and where each runs.

    Attributes:
        context: the context of all texts.
        dtype: number format of the forward pass; "auto" for an encoder that runs in another backend than torch.
        devices: one for each worker.
    """

    context: CorpusContext
    dtype: torch.dtype | str
    devices: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Job:
    """What one worker is started with."""

    folder: Path
    context: CorpusContext
    dtype: torch.dtype | str
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """The vectors of the texts that a worker was given, and how many of those were cut."""

    vectors: Embeddings
    cut: int
    max_length: int


def devices_of(workers: int | Sequence[str], device: torch.device) -> list[str]:
    """Return the device of each worker: so many times `device`, or those listed.

    Raises:
        ConfigurationError: there is not one worker.
        DeviceError: a device does not exist on this machine.
    """
    devices = [str(device)] * workers if isinstance(workers, int) else [str(resolve_device(name)) for name in workers]
    if not devices:
        raise ConfigurationError(f"workers must be at least 1 or a list of devices, found {shown(workers)}")
    return devices


def encode_in_processes(
    save: Callable[[Path], None],
    settings: WorkerSettings,
    texts: Sequence[str],
    width: int,
    show_progress: bool | None = None,
) -> Embeddings:
    """Embed documents by one worker for each device -> (n, width) float32 unit rows in the order given.

    The workers share the threads of this process. However the call ends, by Ctrl-C too, none of them is left behind.

    Args:
        save: writes the encoder into a directory, from which every worker loads it.
        settings: context, number format and devices.
        texts: documents, without the prompt.
        width: of an embedding.
        show_progress: None shows a bar for long work only.

    Raises:
        WorkerError: a worker ended before its time; names the texts it had.
        WriteError: there is no room for a copy of the encoder in the directory for temporary files.
        CDEError: what a worker raised.
    """
    threads = max(1, torch.get_num_threads() // len(settings.devices))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "encoder"
        save(folder)
        devices = settings.devices[: len(texts)]  # no more workers than texts
        jobs = [_Job(folder, settings.context, settings.dtype, device, threads) for device in devices]
        return _collected(jobs, texts, width, show_progress)


def _collected(jobs: Sequence[_Job], texts: Sequence[str], width: int, show_progress: bool | None) -> Embeddings:
    result = np.empty((len(texts), width), dtype=np.float32)
    parts = _parts(len(texts), len(jobs))
    with _started(jobs) as workers, cut_texts_told_once() as counted, progress_bar(len(texts), show_progress) as bar:
        while busy := {worker.connection: worker for worker in workers if worker.busy}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]  # `wait` answers with what it was given
                done, answer = worker.part, worker.receive(texts)
                if answer is not None:
                    result[done.start : done.stop] = answer.vectors
                    counted.add(len(done), answer.cut, answer.max_length)
                    bar.update(len(done))
                worker.give(next(parts, None), texts)
    return result


def _parts(texts: int, workers: int) -> Iterator[range]:
    size = max(1, min(_MOST_TEXTS, -(-texts // (_PARTS_OF_A_WORKER * max(1, workers)))))
    return (range(start, min(start + size, texts)) for start in range(0, texts, size))


class _Worker:
    """A process, as its parent sees it.

    Attributes:
        part: the texts that it is embedding; empty while it loads the model.
        busy: whether an answer is due.
    """

    def __init__(self, job: _Job) -> None:
        spawn = get_context("spawn")  # a forked process could neither use CUDA nor OpenMP's threads
        self.connection, other_end = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(job, other_end), daemon=True)
        self.part = range(0)
        self.busy = True
        self._process.start()
        other_end.close()  # so that the pipe ends with the process

    def give(self, part: range | None, texts: Sequence[str]) -> None:
        """Send the texts of a part; None leaves the worker idle."""
        self.busy = part is not None
        if part is None:
            return
        self.part = part
        try:
            self.connection.send([texts[i] for i in part])
        except OSError as error:
            raise self._ended(texts) from error

    def receive(self, texts: Sequence[str]) -> _Answer | None:
        """Return the answer that is due; None from a worker that has become ready."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended(texts) from error
        if isinstance(answer, BaseException):
            raise answer
        received: _Answer | None = answer
        return received

    def _ended(self, texts: Sequence[str]) -> WorkerError:
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if not self.part:
            return WorkerError(
                f"a worker {how} before it had loaded the model; a script that uses workers must start its work below "
                f'`if __name__ == "__main__":`'
            )
        return WorkerError(
            f"a worker {how} while it embedded texts {self.part.start} to {self.part.stop - 1}, of which the first is "
            f"{shown(texts[self.part.start])}; nothing is returned; if memory ran out, use fewer workers"
        )

    def end(self) -> None:
        """Stop the process, whatever it does."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


@contextmanager
def _started(jobs: Sequence[_Job]) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    try:
        with _interrupts_held():
            for job in jobs:
                workers.append(_Worker(job))
        yield workers
    finally:
        for worker in workers:
            worker.end()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, which this process gets afterwards; processes that are started meanwhile never see it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(job: _Job, connection: "Connection[Any, Any]") -> None:
    """Run in a worker: embed what comes until the pipe is closed."""
    from cde_retrievers.encoder.encoder import ContextualEncoder  # which imports this module

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(job.threads)
    try:
        encoder = ContextualEncoder.from_pretrained(job.folder, device=job.device, dtype=job.dtype)
        connection.send(None)
        while True:
            texts = connection.recv()
            with counted_cut_texts() as counted:
                vectors = encoder.encode_documents(texts, job.context, show_progress=False)
            connection.send(_Answer(vectors, counted.cut, counted.max_length))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        connection.send(error)
