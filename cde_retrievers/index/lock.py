"""One writer at a time, whichever process it is in; whoever is refused learns who holds the index."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cde_retrievers.errors import IndexLockedError

LOCK_FILE = "writer.lock"
HOLDER_FILE = "writer.json"


@contextmanager
def writer_lock(directory: Path, task: str) -> Iterator[None]:
    """Hold the index in `directory` for writing; the operating system lets go of it if the process dies.

    Args:
        directory: of the index.
        task: what for, as the refused will read it.

    Raises:
        IndexLockedError: another writer holds it; names process, machine, task and since when.
    """
    lock = FileLock(directory / LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise IndexLockedError(
            f"{directory} is being written to by {_holder(directory)}; wait until that is done, or open it with "
            f"read_only=True"
        ) from error
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "task": task, "since": _now()}
        (directory / HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        (directory / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


def _holder(directory: Path) -> str:
    try:
        holder = json.loads((directory / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} ({holder['task']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):  # it has the lock, but has not yet, or no longer, signed
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
