"""Persisting an index together with its context, and loading it under that context."""

from pathlib import Path
from typing import Any

from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.indices.base import BaseIndex
from llama_index.core.storage.index_store.types import DEFAULT_PERSIST_FNAME as INDEX_FILE
from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.index.copy import is_only_index
from cde_retrievers.index.inspection import holds_index
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding, ContextualEmbedding
from cde_retrievers.llama_index.guards import check_index, refuse_another_context
from cde_retrievers.llama_index.storage_dir import CONTEXT_FOLDER, seal_with_context, sealed_context, sealed_files
from cde_retrievers.llama_index.vector_files import persisted_path
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.llama_index.verified_stamps import stamp_verified
from cde_retrievers.storage.atomic import atomic_directory, recovered
from cde_retrievers.validation.signatures import validated


@validated
def persist_index(index: VectorStoreIndex, embed_model: ContextBoundEmbedding, persist_dir: str | Path) -> None:
    """Write an index and the context it was built under into a directory, whole or not at all.

    An index that was persisted there is replaced. Nodes of a `SimpleVectorStore` that are not stamped are stamped if
    their vectors are those of the embedding: a hundred of them, spread evenly, are embedded again and compared.

    Args:
        index: an index whose nodes this embedding has embedded.
        embed_model: the embedding whose context is saved.
        persist_dir: a directory for this index alone, on a local disk.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index was built under another context; or it has nodes without a stamp, and they have
            other vectors, their vectors cannot be read, or the embedding was refitted after it had embedded something.
        ConfigurationError: the embedding has `side="query"`; persist such an index as LlamaIndex does.
        PathInUseError: `persist_dir` is a file, or holds other files.
        WriteError: the disk is full, or `persist_dir` cannot be written to.
    """
    embed_model.require_contextual_documents("persist_index")
    refuse_another_context(index, embed_model)
    if check_index(index, embed_model).theirs is None:
        stamp_verified(index, embed_model)
    check_index(index, embed_model).raise_if_different()
    with atomic_directory(
        persist_dir, is_ours=lambda folder: (folder / INDEX_FILE).is_file(), may_go=_was_persisted
    ) as folder:
        index.storage_context.persist(persist_dir=folder)
        seal_with_context(folder, embed_model.context)


@validated
def load_index(
    persist_dir: str | Path,
    embed_model: ContextBoundEmbedding | None = None,
    *,
    vector_store: BasePydanticVectorStore | None = None,
    **options: Any,
) -> BaseIndex[Any]:
    """Load an index that `persist_index` wrote, under the context it was built under.

    Args:
        persist_dir: the directory given to `persist_index`.
        embed_model: the embedding of the queries. If it has no context, the index gets a view of it (`with_context`)
            under the saved one. If None, the model that fitted the context is loaded by its name.
        vector_store: the vector store of the index, if it keeps its vectors elsewhere. A `ContextualVectorStore` in the
            directory is opened there: changes are on disk at once.
        options: passed to LlamaIndex's `load_index_from_storage`.

    Raises:
        ContextFileError: the context is missing, or a file is damaged or was changed since.
        ContextMismatchError: `embed_model` has another context or is another model, or the vector store's nodes are of
            another context.
    """
    folder = recovered(persist_dir)
    bound = _bound(embed_model, sealed_context(folder), folder)
    if vector_store is None and holds_index(persisted_path(folder, DEFAULT_VECTOR_STORE)):
        vector_store = ContextualVectorStore.from_persist_dir(folder, bound)
    storage = StorageContext.from_defaults(persist_dir=str(folder), vector_store=vector_store)
    check_index(storage, bound).raise_if_different()
    return load_index_from_storage(storage, embed_model=bound, **options)


def _was_persisted(entry: Path) -> bool:
    """Whether an entry of a persisted index's directory is of that index: an index of ours, or a file in the seal."""
    return is_only_index(entry) if entry.is_dir() else entry.name in sealed_files(entry.parent)


def _bound(embed_model: ContextBoundEmbedding | None, context: CorpusContext, folder: Path) -> ContextBoundEmbedding:
    if embed_model is None:
        return ContextualEmbedding(context.model_name, context_path=folder / CONTEXT_FOLDER)
    if embed_model.context_fingerprint is not None:
        ContextCheck(theirs=context.fingerprint, yours=embed_model.context_fingerprint).raise_if_different()
    return embed_model if embed_model.is_fitted else embed_model.with_context(context)
