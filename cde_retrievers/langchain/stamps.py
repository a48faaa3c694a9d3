"""The context stamped on documents and collections, and filters for that stamp."""

from collections.abc import Iterable
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import InvalidTextError
from cde_retrievers.langchain.stores.registry import kind_of


def stamped(documents: Iterable[Document], embeddings: ContextBoundMixin) -> list[Document]:
    """Return copies of the documents with the context's fingerprint in their metadata under `CONTEXT_KEY`.

    With `side="query"` the metadata state plain vectors of the model in its place, and no context.

    Add these to the store in place of the documents; a search with `context_filter` then finds those of one context
    only.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        InvalidTextError: an item is not a document.
    """
    stamp = embeddings.stamp
    return [_with_stamp(document, stamp) for document in documents]


def _with_stamp(document: Document, stamp: str) -> Document:
    if not isinstance(document, Document):
        raise InvalidTextError(
            f"only a LangChain Document can carry a context in its metadata, found {type(document).__name__}; "
            f"wrap texts: Document(page_content=text)"
        )
    return document.model_copy(update={"metadata": {**document.metadata, CONTEXT_KEY: stamp}})


def collection_metadata(embeddings: ContextBoundMixin) -> dict[str, str]:
    """Return the metadata to create a new collection with, which state its context.

    Chroma and PGVector take them as `collection_metadata=`, Qdrant as `collection_create_options={"metadata": ...}`.
    They do not change a collection that exists: use `write_context` for that.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
    """
    return {CONTEXT_KEY: embeddings.stamp}


def context_filter(embeddings: ContextBoundMixin, store: VectorStore | str, also: Any = None) -> Any:
    """Return a store's own filter for documents that are `stamped` with the embeddings' context.

    Args:
        embeddings: the embeddings of the queries; the filter is made for their present context.
        store: the store that is searched, or the name of its kind: "chroma", "qdrant", "pgvector", "inmemory",
            "milvus", "pgvectorstore".
        also: another filter of that store, which documents must pass too.

    Returns:
        For `filter=`: a dictionary for Chroma, PGVector and PGVectorStore, a `qdrant_client.models.Filter`, or a
        function of a document for the store in memory. For `expr=`: an expression for Milvus.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ConfigurationError: the kind of store or of filter is not known.
        MissingDependencyError: the store's package is not installed.
    """
    known = None if isinstance(store, str) else store
    return kind_of(store).filter(embeddings.stamp, also, known)
