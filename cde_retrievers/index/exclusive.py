"""Who may change an index: one writer at a time, among all threads and processes."""

from collections.abc import Iterator
from contextlib import contextmanager

from cde_retrievers.errors import ReadOnlyError
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.open_index import OpenIndex
from cde_retrievers.index.writer import IndexWriter
from cde_retrievers.storage.disk_errors import disk_errors_explained


class ExclusiveAccess:
    """Lets one writer at a time change an index; within its block the index is at its newest generation.

    Other threads of this object wait. Other processes, other objects of the same index and a change within a change are
    refused, and told the `task` that is done.

    Args:
        state: the open index.
        read_only: refuse every change.
    """

    def __init__(self, state: OpenIndex, read_only: bool) -> None:
        self._state = state
        self._read_only = read_only
        # Whether the thread that holds `state.changing` holds the index for several changes.
        self._is_held = False

    @contextmanager
    def for_one_change(self, task: str) -> Iterator[IndexWriter]:
        """Hold the index for one change, and give what makes it."""
        with self._state.changing, self._held(False) if self._is_held else self._locked(task):
            yield IndexWriter(self._state)

    @contextmanager
    def for_several_changes(self, task: str) -> Iterator[None]:
        """Hold the index for the changes that this thread makes in the block."""
        with self._locked(task), self._held(True):
            yield

    @contextmanager
    def _held(self, value: bool) -> Iterator[None]:
        before, self._is_held = self._is_held, value
        try:
            yield
        finally:
            self._is_held = before

    @contextmanager
    def _locked(self, task: str) -> Iterator[None]:
        store = self._state.store
        path, generation = store.directory, self._state.current.snapshot.manifest.generation
        if self._read_only:
            raise ReadOnlyError(f"the index in {path} was opened for reading; open it without read_only=True")
        state = f"the index is still there, at generation {generation} or later"
        with self._state.changing, disk_errors_explained(path, state):
            store.served()  # if the index was moved away, not even a lock is left there
            with writer_lock(path, task):
                self._state.refresh()
                store.set_aside_damaged_staging()
                store.claim()
                store.sweep()
                yield
