"""Keys of LangChain caches and record managers that include the context, so that no vector of another one is reused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import BaseStore

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.util.imports import imported

Role = Literal["document", "query"]
_ROLES = ("document", "query")


def cache_key_encoder(embeddings: ContextBoundMixin, role: Role) -> Callable[[str], str]:
    """The `key_encoder` of a cache: the context's fingerprint, the role and a SHA-256 of the text.

    The fingerprint is read for every key, so after a refit the cache starts afresh, and the old vectors are found
    again under the old context. There is no ready-made `namespace=` in its place, because such a string stays what it
    was through a refit, and is shared by documents and queries.

    Args:
        embeddings: what the cache stands before.
        role: "document" or "query"; the same text has another vector as a query.

    Returns:
        From a text to its key, made of letters, digits and hyphens, so that it also serves as a file name. It raises
        ContextNotFittedError: the context is not fitted yet.

    Raises:
        ConfigurationError: the role is neither of the two.
    """
    if role not in _ROLES:
        raise ConfigurationError(f"role must be 'document' or 'query', found {shown(role)}; give one of them")

    def key(text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return f"{embeddings.context.fingerprint}-{role}-{digest}"

    return key


def cached_embeddings(
    embeddings: Embeddings,
    document_store: BaseStore[str, bytes],
    query_store: BaseStore[str, bytes] | None = None,
    *,
    batch_size: int | None = None,
) -> Embeddings:
    """Embeddings that look into a cache first: LangChain's `CacheBackedEmbeddings`, told contexts and roles apart.

    After a refit nothing of the old context is found, by documents or queries. Do not run a refit during a call
    in another thread: its vectors would be put away under the new context.

    Args:
        embeddings: `ContextualEmbeddings`, or others that are bound to a context.
        document_store: where documents' vectors are kept, such as `LocalFileStore` or `InMemoryByteStore`.
        query_store: where queries' vectors are kept; not at all if None. It may be the same store.
        batch_size: documents that are embedded between two writes to the cache; all of a call if None.

    Returns:
        A `langchain_classic.embeddings.CacheBackedEmbeddings`.

    Raises:
        ConfigurationError: the embeddings are bound to no context, so no key could tell contexts apart.
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
        # LangChain builds a store with keys only for documents; a query's differs in nothing but the key.
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
    """A record manager's namespace for one collection under one context: "collection/fingerprint".

    Use it with a new collection per context. Under a new context the record manager knows nothing yet, so
    `index()` embeds everything, and deletes nothing of the old collection.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
    """
    return f"{collection}/{embeddings.context.fingerprint}"


def index_key_encoder(embeddings: ContextBoundMixin) -> Callable[[Document], str]:
    """The `key_encoder` of `index()`: a SHA-256 over the context's fingerprint, the text and the metadata.

    Use it to keep the collection, and its record manager's namespace, through a refit. Afterwards
    `index(..., cleanup="full", key_encoder=...)` embeds every document again and deletes the old vectors; then
    `write_context(store, embeddings, replace=True)` tells the store.

    Args:
        embeddings: what the store embeds with; the fingerprint is read for every document.

    Returns:
        From a document to 128 bits of the hash in a UUID's form, since some stores take no other ids. It raises
        ContextNotFittedError while there is no context, and ConfigurationError for metadata that JSON cannot hold.
    """

    def key(document: Document) -> str:
        identity = [embeddings.context.fingerprint, document.page_content, _sorted_json(document)]
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
