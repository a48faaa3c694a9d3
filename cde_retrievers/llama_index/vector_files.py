"""Creating the index of a vector store, and copying it to another directory."""

from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.simple import NAMESPACE_SEP
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_FNAME

from cde_retrievers.errors import ConfigurationError, PathInUseError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.copy import copy_files, is_only_index
from cde_retrievers.index.inspection import holds_index
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.temporary import in_temporary_directory
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding, ContextualEmbedding
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.storage.disk_errors import disk_errors_explained


def create_index(embed_model: ContextBoundEmbedding, path: str | Path | None) -> ContextualIndex:
    """Create an index without documents at `path`, or in a temporary directory if `path` is None.

    Raises:
        ContextNotFittedError: the embedding has no context.
        PathInUseError: there is an index, or something else, at `path`.
        WriteError: the disk is full, or `path` cannot be written to.
    """
    if path is not None and holds_index(path):
        raise PathInUseError(f"{path} already holds an index; open it with ContextualVectorStore.open({str(path)!r})")
    context = embed_model.context

    def create(folder: Path) -> ContextualIndex:
        return ContextualIndex.create(embed_model.embedder, context, folder)

    return in_temporary_directory(create) if path is None else create(Path(path))


def open_index(
    path: str | Path, embed_model: ContextBoundEmbedding | None, read_only: bool
) -> tuple[ContextBoundEmbedding, ContextualIndex]:
    """Open the index at `path`, and return it after the embedding under its context.

    That is the given one, a view of it if it has no context, or the model that the index names if None.

    Raises:
        CDEError: as `ContextualIndex.open`.
    """
    index = ContextualIndex.open(path, None if embed_model is None else embed_model.embedder, read_only=read_only)
    bound = ContextualEmbedding(encoder=index.embedder) if embed_model is None else embed_model
    return (bound if bound.is_fitted else bound.with_context(index.context)), index


def persisted_path(persist_dir: str | Path, namespace: str) -> Path:
    """Return the path at which a `StorageContext` persists the vector store of that name."""
    return Path(persist_dir) / f"{namespace}{NAMESPACE_SEP}{DEFAULT_PERSIST_FNAME}"


def copy_index(index: ContextualIndex, path: str | Path) -> None:
    """Copy the newest generation to `path`, whole or not at all; an index there is replaced.

    Raises:
        PathInUseError: something else is at `path`.
        IndexLockedError: another process is writing to the index.
        WriteError: the disk is full, or `path` cannot be written to.
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
    """Raise ConfigurationError if `fs`, a file system of fsspec, is not the local disk."""
    protocol = getattr(fs, "protocol", ())
    if fs is not None and "file" not in ((protocol,) if isinstance(protocol, str) else protocol):
        raise ConfigurationError(
            f"an index must be on a local disk, on which it is searched, found a file system for {protocol!r}; "
            f"leave fs out, and copy the directory afterwards"
        )
