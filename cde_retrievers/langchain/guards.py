"""Guards of LangChain stores: the context of a store is read, written, compared, and never mixed with another."""

from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.index import context_of_index
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.stamps import stamped
from cde_retrievers.langchain.stores.interface import StoreKind
from cde_retrievers.langchain.stores.registry import find_kind, is_readable, readable_kind_of

Index = VectorStore | IndexReader | str | Path
"""A vector store, a ContextualIndex, or the directory of one."""


def read_context(index: Index) -> str | None:
    """Return the fingerprint of the context under which an index states it was built, or None if it states none.

    A store of plain vectors may state that in its place.

    Args:
        index: a store of Chroma, Qdrant or PGVector, an InMemoryVectorStore, a ContextualVectorStore; a
            ContextualIndex, or its directory.

    Raises:
        ConfigurationError: a store of this kind cannot state its context; the message names an alternative.
        ContextMismatchError: the documents of an InMemoryVectorStore name several contexts.
    """
    # A ContextualVectorStore has an index of its own.
    own = getattr(index, "index", None) if isinstance(index, VectorStore) else index
    if isinstance(own, IndexReader | str | Path):
        return context_of_index(own)
    return readable_kind_of(index).read(index)


def write_context(store: VectorStore, embeddings: ContextBoundMixin, *, replace: bool = False) -> None:
    """Write into a store that it was built under the embeddings' context. Its other metadata stay.

    With `side="query"` write that it holds plain vectors of their model.

    You vouch for it: vectors do not show under which context they were made.

    Args:
        store: a store of Chroma, Qdrant (server and client from 1.16) or PGVector, whose collection carries the
            context; or an InMemoryVectorStore, whose documents carry it.
        embeddings: the embeddings of its documents.
        replace: write it even if the store states another context, because everything in it was embedded again.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ContextMismatchError: the store states another context, and `replace` is False.
        ConfigurationError: a store of this kind cannot carry a context, or did not keep it.
    """
    stamp = embeddings.stamp
    kind = readable_kind_of(store)
    if not replace and kind.read(store) not in (None, stamp):
        raise ContextMismatchError(
            f"the store was built under context {kind.read(store)}, not {stamp}; load the context "
            f"that was saved with it, or empty it, add its documents again and pass replace=True"
        )
    kind.write(store, stamp)
    if kind.read(store) != stamp:
        raise ConfigurationError(
            f"{kind.name} accepted the context but did not keep it; update its server, or add "
            f"stamped(documents, embeddings) and search with context_filter(embeddings, store)"
        )


def check_index(index: Index, embeddings: ContextBoundMixin) -> ContextCheck:
    """Compare the context under which an index states it was built with the embeddings' context.

    Embeddings with `side="query"` accept an index that states no context, or plain vectors of their model.

    Example:
        ```python
        check_index(store, embeddings).raise_if_different()  # names both fingerprints and the way out
        ```

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ConfigurationError: a store of this kind cannot state its context; the message names an alternative.
        ContextMismatchError: the documents of an InMemoryVectorStore name several contexts.
    """
    return ContextCheck(theirs=read_context(index), yours=embeddings.stamp)


def refuse_another_context(store: VectorStore, embeddings: ContextBoundMixin) -> None:
    """Raise ContextMismatchError if the store states another context; many stores cannot state any."""
    if is_readable(store):
        check_index(store, embeddings).raise_if_another()


def build_store(
    documents: list[Document],
    embeddings: ContextBoundEmbeddings,
    store_class: type[VectorStore],
    options: dict[str, Any],
) -> VectorStore:
    """Call `store_class.from_documents`, but refuse a store of another context before anything is added to it.

    Raises:
        ContextMismatchError: the collection exists, and was built under another context or does not state one.
    """
    kind = find_kind(store_class)
    if kind is None:
        return store_class.from_documents(documents, embeddings, **options)
    adding = {name: value for name, value in options.items() if name in kind.options_of_adding}
    opening = {name: value for name, value in options.items() if name not in adding}
    store = kind.open(store_class, embeddings, opening)
    _claim(store, kind, embeddings)
    _add(store, kind, documents, embeddings, adding)
    return store


def add_documents(
    store: VectorStore, documents: list[Document], embeddings: ContextBoundMixin, options: dict[str, Any]
) -> list[str]:
    """Call `store.add_documents`, after `refuse_another_context`."""
    refuse_another_context(store, embeddings)
    kind = find_kind(store)
    return _add(store, kind, documents, embeddings, options) if kind else store.add_documents(documents, **options)


def _claim(store: VectorStore, kind: StoreKind, embeddings: ContextBoundMixin) -> None:
    check = check_index(store, embeddings)
    check.raise_if_another()
    held = kind.count(store)
    if held and check.theirs is None:
        if embeddings.documents_are_plain:
            return  # plain vectors need no stamp, and those before are not vouched for
        raise ContextMismatchError(
            f"this {kind.name} store already holds {held} documents and does not record their context; use a new "
            f"collection, or, if you know that they were embedded under yours, call write_context(store, embeddings)"
        )
    if not kind.stamps_documents:
        write_context(store, embeddings)


def _add(
    store: VectorStore,
    kind: StoreKind,
    documents: list[Document],
    embeddings: ContextBoundMixin,
    options: dict[str, Any],
) -> list[str]:
    # A store with stamped and unstamped documents would seem to be of two contexts.
    to_be_stamped = kind.stamps_documents and (kind.count(store) == 0 or kind.read(store) is not None)
    return kind.add(store, stamped(documents, embeddings) if to_be_stamped else documents, options)
