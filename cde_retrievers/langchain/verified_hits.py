"""LangChain stores whose every search checks that its hits were embedded under the context of the queries."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial, wraps
from inspect import getattr_static, iscoroutinefunction, isfunction
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.hits import HitCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.guards import read_context, refuse_another_context
from cde_retrievers.langchain.stores.registry import find_kind
from cde_retrievers.langchain.vector_store import ContextualVectorStore

Store = TypeVar("Store", bound=VectorStore)


def verified(store: Store, embeddings: ContextBoundEmbeddings) -> Store:
    """Make every search of a store check the stamps of its hits, and return the store.

    That holds for all methods of its class with "search" in their names, asynchronous ones too, and so for the
    retrievers that it makes. A hit that is stamped with another context raises ContextMismatchError. If hits carry no
    stamp, and the store does not state its context either, that is logged once. A search after a refit of the
    embeddings is refused; after everything was embedded again, call `verified` again.

    Example:
        ```python
        store = verified(FAISS.load_local(folder, embeddings, allow_dangerous_deserialization=True), embeddings)
        ```

    Args:
        store: any vector store. A `ContextualVectorStore` vouches for its documents, and is returned as it is.
        embeddings: the embeddings that the store was made with.

    Raises:
        ContextNotFittedError, ContextMismatchError, ConfigurationError: as `hit_check_of`.
    """
    check = hit_check_of(store, embeddings)
    if check is None:
        return store
    stamp = embeddings.stamp
    for name in filter(_is_search, dir(type(store))):
        # The class' own method: a store that was verified before is not checked under its former context too.
        method = getattr_static(type(store), name)
        if isfunction(method):  # and no property, static method or constant
            setattr(store, name, _checking(method.__get__(store), check, partial(embeddings.check_context, stamp)))
    return store


def hit_check_of(store: VectorStore, embeddings: ContextBoundEmbeddings) -> HitCheck | None:
    """Compare the contexts of store and embeddings, and return the check of the store's hits.

    None for a `ContextualVectorStore`, which vouches for its documents: their metadata may name an earlier context.

    Raises:
        ContextNotFittedError: the embeddings have no context.
        ContextMismatchError: the vector store embeds under another context, or states that it was built under another
            one. Many stores state none; `check_index` shows it.
        ConfigurationError: the store of embeddings with `side="query"` embeds queries without a context.
    """
    fingerprint = embeddings.context.fingerprint
    # A cache wraps the embeddings.
    theirs = getattr(store.embeddings, "underlying_embeddings", store.embeddings)
    if isinstance(theirs, ContextBoundEmbeddings) and theirs != embeddings:
        raise ContextMismatchError(
            f"the vector store embeds under context {theirs.context_fingerprint}, but queries would be embedded "
            f"under {fingerprint}; pass the embeddings that the store was made with"
        )
    if embeddings.documents_are_plain and theirs is not None and not isinstance(theirs, ContextBoundMixin):
        raise ConfigurationError(
            f"this store embeds queries by its own {type(theirs).__name__}, without the context; open it with the "
            f"embeddings that search its plain vectors under their context"
        )
    is_known = refuse_another_context(store, embeddings)
    if isinstance(store, ContextualVectorStore):
        return None
    # Where the documents carry the context, their stamps say all there is to say.
    kind = find_kind(store)
    ask = partial(read_context, store) if kind is not None and not kind.stamps_documents else None
    return HitCheck(type(store).__name__, embeddings.stamp, is_known, ask)


def _is_search(name: str) -> bool:
    return "search" in name and not name.startswith("_")


def _checking(method: Callable[..., Any], check: HitCheck, prepare: Callable[[], None]) -> Callable[..., Any]:
    """Return the method with a check of what it finds."""

    def checked(found: Any) -> Any:
        # What is not a list of hits comes from a method that searches nothing, such as one that makes an index.
        check.check(document.metadata for document in _documents(found if isinstance(found, list) else []))
        return found

    @wraps(method)
    def search(*arguments: Any, **options: Any) -> Any:
        prepare()
        return checked(method(*arguments, **options))

    @wraps(method)
    async def asearch(*arguments: Any, **options: Any) -> Any:
        prepare()
        # The check may ask the store, which must not block the event loop.
        return await asyncio.to_thread(checked, await method(*arguments, **options))

    return asearch if iscoroutinefunction(method) else search


def _documents(hits: Iterable[Any]) -> Iterable[Document]:
    """Return the documents among hits, which are documents or tuples of a document and its score or vector."""
    parts = (part for hit in hits for part in (hit if isinstance(hit, tuple) else (hit,)))
    return (part for part in parts if isinstance(part, Document))
