"""Keys and namespaces with which `langchain_core.indexing.index()` notices that the context is another."""

import hashlib
import json
from collections.abc import Callable
from uuid import UUID

from langchain_core.documents import Document

from cde_retrievers.bound import BoundToContext
from cde_retrievers.errors import ConfigurationError


def record_manager_namespace(embeddings: BoundToContext, collection: str) -> str:
    """A record manager's namespace for one collection under one context: "collection/fingerprint".

    For those who build a new collection per context. Under a new context the record manager knows nothing yet, so
    `index()` embeds everything, and deletes nothing of the old collection.

    Raises:
        ContextNotFittedError: there is no context yet.
    """
    return f"{collection}/{embeddings.context.fingerprint}"


def index_key_encoder(embeddings: BoundToContext) -> Callable[[Document], str]:
    """The `key_encoder` of `index()`: a SHA-256 over the context's fingerprint, the text and the metadata.

    For those who keep the collection, and its record manager's namespace, through a refit. Afterwards
    `index(..., cleanup="full", key_encoder=...)` embeds every document anew and deletes the old vectors; then
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
            f"keep to strings, numbers, lists and dictionaries with strings for keys"
        ) from error
