"""LangChain's caches and record managers kept apart by context, so that no vector of another context is reused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import BaseStore

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import Role


@validated
def cache_key_encoder(embeddings: ContextBoundMixin, role: Role) -> Callable[[str], str]:
    """Return the `key_encoder` of a cache: the context's fingerprint, the role and a SHA-256 of the text.

    The fingerprint is read for every key. After a refit no old vector is found, and under the old context they are
    found again. A `namespace=` would not do: it stays the same through a refit, and documents and queries share it.
    Plain documents (`side="query"`) have the keys of their model, and stay found through a refit.

    Args:
        embeddings: the cached embeddings.
        role: "document" or "query".

    Returns:
        A function from a text to its key: letters, digits and hyphens, so that it also serves as a file name. It raises
        ContextNotFittedError if the context is not fitted yet.

    Raises:
        ConfigurationError: the role is neither of the two, or the embeddings are not bound to a context.
    """

    def key(text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        stamp = embeddings.stamp if role == "document" else embeddings.context.fingerprint
        return f"{stamp}-{role}-{digest}"

    return key


def cached_embeddings(
    embeddings: Embeddings,
    document_store: BaseStore[str, bytes],
    query_store: BaseStore[str, bytes] | None = None,
    *,
    batch_size: int | None = None,
) -> Embeddings:
    """Return LangChain's `CacheBackedEmbeddings`, with keys that name context and role.

    After a refit no vector of the old context is found. Do not refit during a call in another thread: its vectors
    would be stored under the new context.

    Args:
        embeddings: `ContextualEmbeddings` or `WhitenedEmbeddings`.
        document_store: stores the vectors of documents, such as `LocalFileStore` or `InMemoryByteStore`.
        query_store: stores the vectors of queries, which are not cached if None. It may be the same store.
        batch_size: number of documents to embed between two writes to the cache; all of a call if None.

    Returns:
        A `langchain_classic.embeddings.CacheBackedEmbeddings`.

    Raises:
        ConfigurationError: the embeddings are not bound to a context.
        MissingDependencyError: langchain-classic is not installed.
    """
    if not isinstance(embeddings, ContextBoundMixin):
        raise ConfigurationError(
            f"embeddings must be bound to a context, found {type(embeddings).__name__}; for plain ones "
            f"use CacheBackedEmbeddings.from_bytes_store"
        )
    kind = imported(
        "langchain_classic.embeddings", "a cache of embeddings", package="langchain-classic"
    ).CacheBackedEmbeddings

    def with_keys(store: BaseStore[str, bytes], role: Role) -> Any:
        # LangChain builds such a store for documents only; that of queries differs only in its keys.
        return kind.from_bytes_store(
            embeddings, store, key_encoder=cache_key_encoder(embeddings, role)
        ).document_embedding_store

    cached: Embeddings = kind(
        embeddings,
        with_keys(document_store, "document"),
        batch_size=batch_size,
        query_embedding_store=None if query_store is None else with_keys(query_store, "query"),
    )
    return cached


def record_manager_namespace(embeddings: ContextBoundMixin, collection: str) -> str:
    """Return a record manager's namespace for one collection under one context: "collection/fingerprint".

    Use it with a new collection for each context. Under another context no document is known, so `index()` embeds every
    one again, and deletes none of the old collection.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
    """
    return f"{collection}/{embeddings.stamp}"


def index_key_encoder(embeddings: ContextBoundMixin) -> Callable[[Document], str]:
    """Return the `key_encoder` of `index()`: a SHA-256 of the context's fingerprint, the text and the metadata.

    Use it to keep the collection, and its record manager's namespace, through a refit. After the refit
    `index(..., cleanup="full", key_encoder=...)` embeds every document again and deletes the old vectors; then record
    the new context with `write_context(store, embeddings, replace=True)`.

    Args:
        embeddings: the embeddings of the store; their fingerprint is read for every document.

    Returns:
        A function from a document to 128 bits of the hash as a UUID, the only id that some stores take. It raises
        ContextNotFittedError if there is no context, and ConfigurationError for metadata that JSON cannot hold.
    """

    def key(document: Document) -> str:
        identity = [embeddings.stamp, document.page_content, _sorted_json(document)]
        return str(UUID(hashlib.sha256(json.dumps(identity).encode("ascii")).hexdigest()[:32]))

    return key


def _sorted_json(document: Document) -> str:
    try:
        return json.dumps(document.metadata, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the metadata of the document that starts with {document.page_content[:60]!r} cannot be hashed ({error}); "
            f"use only strings, numbers, lists and dictionaries with string keys"
        ) from error
