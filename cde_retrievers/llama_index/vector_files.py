"""Where the index of a vector store lies on disk, and copies of it."""

import shutil
from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.simple import NAMESPACE_SEP
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_FNAME

from cde_retrievers.atomic import atomic_directory
from cde_retrievers.context import CorpusContext
from cde_retrievers.disk_errors import disk_errors_explained
from cde_retrievers.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, PathInUseError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.check import holds_index
from cde_retrievers.index.lock import HOLDER_FILE, writer_lock
from cde_retrievers.index.store import belongs_to_index
from cde_retrievers.index.temporary import in_temporary_directory
from cde_retrievers.scratch import is_scratch


def new_index(embedder: Embedder, context: CorpusContext, path: str | Path | None) -> ContextualIndex:
    """An index without documents; without a path in a temporary directory, which is removed with the index.

    Raises:
        PathInUseError: there is an index, or something else, at `path`.
        ContextMismatchError: another model fitted the context.
        WriteError: the disk is full or not to be written to.
    """
    if path is not None:
        if holds_index(path):
            raise PathInUseError(
                f"{path} holds an index already; open it with ContextualVectorStore.open({str(path)!r})"
            )
        return ContextualIndex.create(embedder, context, path)
    return in_temporary_directory(lambda folder: ContextualIndex.create(embedder, context, folder))


def persisted_path(persist_dir: str | Path, namespace: str) -> Path:
    """Where a `StorageContext` persists the vector store that it knows by that name."""
    return Path(persist_dir) / f"{namespace}{NAMESPACE_SEP}{DEFAULT_PERSIST_FNAME}"


def copy_index(index: ContextualIndex, path: str | Path) -> None:
    """Copy the newest generation into a directory, whole or not at all; an index there is replaced.

    Raises:
        PathInUseError: something else is at `path`.
        IndexLockedError: another process is writing to the index.
        WriteError: the disk is full or not to be written to.
    """
    if Path(path).resolve() == index.path:
        return
    with (
        disk_errors_explained(Path(path), "what was there before is as it was"),
        atomic_directory(path, is_ours=holds_index, may_go=belongs_to_index) as folder,
        writer_lock(index.path, "copying it"),
    ):
        _copy_files(index.path, folder)


def _copy_files(source: Path, target: Path) -> None:
    """One by one: `shutil.copytree` would go on after an error, and bury what it was."""
    for path in sorted(source.rglob("*")):
        within = path.relative_to(source)
        copy = target / within
        if any(is_scratch(part) for part in (within, *within.parents)) or path.name == HOLDER_FILE:
            continue
        if path.is_dir():
            copy.mkdir()
        else:
            shutil.copy2(path, copy)


def require_local(fs: Any) -> None:
    """Refuse a file system of fsspec that is not this machine's.

    Raises:
        ConfigurationError: it is another.
    """
    protocol = getattr(fs, "protocol", ())
    if fs is not None and "file" not in ((protocol,) if isinstance(protocol, str) else protocol):
        raise ConfigurationError(
            f"an index lies on a local disk, where it can be searched in place, found a file system for {protocol!r}; "
            f"leave fs out, and copy the directory afterwards"
        )
