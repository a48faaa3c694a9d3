"""A store of sparse rows beside a vector store that keeps none: BM25 of every document by its id.

Axes: n documents, R rows.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.errors import ContextMismatchError, IndexLockedError, PathInUseError
from cde_retrievers.index.symlinks import is_there, obstacle
from cde_retrievers.sparse.analyzer import TERM_LIMIT
from cde_retrievers.sparse.postings import Postings
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.storage.scratch import is_scratch
from cde_retrievers.storage.sync import make_directory
from cde_retrievers.stores.sparse_rows_file import SparseRows, read_rows, write_rows
from cde_retrievers.validation.paths import checked_path

_FILE, _LOCK = "sparse_rows.safetensors", "writer.lock"
_WAIT = 60.0  # seconds: a change takes much less
_NONE = SparseRows((), Postings.of(csr_matrix((0, TERM_LIMIT), dtype=np.float32)))


class SparseStore:
    """Sparse rows of documents in a directory of their own, made under one context.

    A change is on disk when the call returns, and others see it at their next call. It writes all rows: about eight
    bytes for every distinct word of every document. Safe to use from several threads and processes.

    Args:
        path: the directory; a new one is made by the first change.
        context: fingerprint of the context.

    Raises:
        PathInUseError: there is something else at `path`.
        ContextMismatchError: the rows there were made under another context.
        IndexFileError: they are damaged.
    """

    def __init__(self, path: str | Path, context: str) -> None:
        self._directory = checked_path(path).absolute()
        self._context = context
        self._changing = RLock()
        self._read: tuple[tuple[int, ...] | None, SparseRows] = (None, _NONE)
        _refuse_files_of_others(self._directory)
        self.rows()

    def rows(self) -> SparseRows:
        """Return the rows as they are on disk now; they are read again if they changed.

        Raises:
            ContextMismatchError, IndexFileError: as the constructor.
        """
        identity = _identity(self._directory / _FILE)
        known, rows = self._read
        if identity != known:
            rows = _NONE if identity is None else self._read_again()
            self._read = identity, rows
        return rows

    def put(self, ids: Sequence[str], matrix: csr_matrix) -> None:
        """Add rows (n, 2^24); each replaces the row that had its id, and of several with one id the last counts.

        Raises:
            IndexLockedError: another process has been changing the rows for a minute.
            WriteError: the disk is full, or the directory cannot be written to; the rows are as before.
        """
        last = {identity: row for row, identity in enumerate(ids)}
        chosen = np.fromiter(last.values(), dtype=np.int64, count=len(last))
        with self._lock():
            old = self.rows()
            kept = _rows_without(old, last.keys())
            new = Postings.of(matrix[chosen])
            postings = Postings.joined([(old.postings, kept), (new, np.arange(len(last)))])
            self._write(SparseRows((*(old.ids[row] for row in kept), *last), postings))

    def delete(self, ids: Collection[str]) -> None:
        """Remove rows; unknown ids are ignored. Raises as `put`."""
        with self._lock():
            old = self.rows()
            kept = _rows_without(old, set(ids))
            if len(kept) < len(old.ids):
                postings = Postings.joined([(old.postings, kept)])
                self._write(SparseRows(tuple(old.ids[row] for row in kept), postings))

    def _read_again(self) -> SparseRows:
        context, rows = read_rows(self._directory / _FILE)
        if context != self._context:
            raise ContextMismatchError(
                f"the sparse rows in {self._directory} were made under context {context}, not {self._context}; use the "
                f"embeddings that made them, or give another directory and add the documents again"
            )
        return rows

    def _write(self, rows: SparseRows) -> None:
        path = self._directory / _FILE
        write_rows(path, self._context, rows)
        self._read = _identity(path), rows

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let no other thread or process change the rows meanwhile."""
        with self._changing:
            with disk_errors_explained(self._directory, "nothing was changed"):
                make_directory(self._directory)
                _refuse_links(self._directory)
                lock = FileLock(self._directory / _LOCK, timeout=_WAIT)
                try:
                    lock.acquire()
                except Timeout as error:
                    raise IndexLockedError(
                        f"the sparse rows in {self._directory} are being changed by another process; try again later"
                    ) from error
            try:
                yield
            finally:
                lock.release()


def _rows_without(rows: SparseRows, ids: Collection[str]) -> NDArray[np.int64]:
    return np.array([row for row, identity in enumerate(rows.ids) if identity not in ids], dtype=np.int64)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file is replaced; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_files_of_others(directory: Path) -> None:
    """Raise PathInUseError unless the directory is missing, empty or one of sparse rows."""
    if os.path.lexists(directory) and not directory.is_dir():
        raise PathInUseError(f"{directory} is not a directory; give a new one")
    entries = list(directory.iterdir()) if directory.is_dir() else []
    others = sorted(entry.name for entry in entries if entry.name not in (_FILE, _LOCK) and not is_scratch(entry))
    if others:
        raise PathInUseError(
            f"{directory} holds other files ({', '.join(others[:5])}); give a directory of its own, such as a new one "
            f"inside"
        )
    _refuse_links(directory)


def _refuse_links(directory: Path) -> None:
    for name in (_FILE, _LOCK):
        wrong = obstacle(directory, name) if is_there(directory / name) else None
        if wrong is not None:
            raise PathInUseError(f"{wrong}, or give another directory")
