"""The writer's lock: one writer at a time over all processes; a second one learns which process holds the index."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cde_retrievers.errors import IndexFileError, IndexLockedError
from cde_retrievers.index.symlinks import is_file, is_there, new_file, obstacle

LOCK_FILE = "writer.lock"
HOLDER_FILE = "writer.json"


class _Holder(BaseModel):
    model_config = ConfigDict(strict=True)

    pid: int
    host: str
    task: str
    since: str

    def __str__(self) -> str:
        told = f"process {self.pid} on {self.host} ({self.task}, since {self.since})"
        return told if told.isprintable() else "another process"


@contextmanager
def writer_lock(directory: Path, task: str) -> Iterator[None]:
    """Lock the index in `directory` for writing; the operating system unlocks it if the process dies.

    Args:
        directory: directory of the index.
        task: the purpose, shown to writers that are refused.

    Raises:
        IndexLockedError: another writer holds it; names process, machine, task and since when.
        IndexFileError: the directory is gone, or links lie where the lock's files belong.
    """
    with bare_lock(directory):
        _sign(directory, task)
        try:
            yield
        finally:
            (directory / HOLDER_FILE).unlink(missing_ok=True)


@contextmanager
def bare_lock(directory: Path) -> Iterator[None]:
    """Lock as `writer_lock`, but leave nothing in the directory except the lock's empty file."""
    from filelock import FileLock, Timeout  # which takes long to import, and readers do without

    if not directory.is_dir():
        raise IndexFileError(f"{directory} was moved or removed; open the index where it is now")
    _refuse_links(directory, LOCK_FILE)
    lock = FileLock(directory / LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise IndexLockedError(
            f"{directory} is being written to by {_holder(directory)}; wait until that is done, or open it with "
            f"read_only=True"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _sign(directory: Path, task: str) -> None:
    """Record who holds the lock, if the disk has space for it."""
    _refuse_links(directory, HOLDER_FILE)
    path = directory / HOLDER_FILE
    path.unlink(missing_ok=True)  # of a writer that was killed
    holder = _Holder(pid=os.getpid(), host=socket.gethostname(), task=task, since=_now())
    try:
        with new_file(path) as file:
            file.write(holder.model_dump_json().encode("utf-8"))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _refuse_links(directory: Path, name: str) -> None:
    wrong = obstacle(directory, name) if is_there(directory / name) else None
    if wrong is not None:
        raise IndexFileError(f"{wrong}; remove it, the index makes its own")


def belongs_to_lock(entry: Path) -> bool:
    """Whether this is one of the lock's files, judged by its content."""
    if entry.name == LOCK_FILE:
        return is_file(entry) and entry.stat().st_size == 0
    return entry.name == HOLDER_FILE and _read_holder(entry.parent) is not None


def _read_holder(directory: Path) -> _Holder | None:
    if obstacle(directory, HOLDER_FILE) is not None:
        return None
    try:
        return _Holder.model_validate_json((directory / HOLDER_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _holder(directory: Path) -> str:
    holder = _read_holder(directory)
    return "another process" if holder is None else str(holder)  # it has not signed yet, or has removed its file


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
