"""The place of a vector store's index on disk, and copies of it."""

from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.simple import NAMESPACE_SEP
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_FNAME

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, PathInUseError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.copy import copy_files, is_only_index
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.reader import holds_index
from cde_retrievers.index.temporary import in_temporary_directory
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.storage.disk_errors import disk_errors_explained


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
                f"{path} already holds an index; open it with ContextualVectorStore.open({str(path)!r})"
            )
        return ContextualIndex.create(embedder, context, path)
    return in_temporary_directory(lambda folder: ContextualIndex.create(embedder, context, folder))


def persisted_path(persist_dir: str | Path, namespace: str) -> Path:
    """The path at which a `StorageContext` persists the vector store of that name."""
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
        atomic_directory(path, is_ours=is_only_index, may_go=lambda _: True) as folder,
        writer_lock(index.path, "copying it"),
    ):
        copy_files(index.path, folder)


def require_local(fs: Any) -> None:
    """Refuse a file system of fsspec that is not this machine's.

    Raises:
        ConfigurationError: it is another.
    """
    protocol = getattr(fs, "protocol", ())
    if fs is not None and "file" not in ((protocol,) if isinstance(protocol, str) else protocol):
        raise ConfigurationError(
            f"an index must be on a local disk, where it is searched in place, found a file system for {protocol!r}; "
            f"leave fs out, and copy the directory afterwards"
        )
