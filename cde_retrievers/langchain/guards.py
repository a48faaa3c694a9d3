"""Guards of LangChain stores: the context of a store is read, written, compared, and never mixed with another."""

from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.index import context_of_index
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.relevance import with_cosine_relevance
from cde_retrievers.langchain.stamps import stamped
from cde_retrievers.langchain.stores.interface import StoreKind
from cde_retrievers.langchain.stores.registry import find_kind, is_readable, readable_kind_of
from cde_retrievers.langchain.stores.sample import stamps_of
from cde_retrievers.langchain.vector_store import ContextualVectorStore

Index = VectorStore | IndexReader | str | Path
"""A vector store, a ContextualIndex, or the directory of one."""


def read_context(index: Index) -> str | None:
    """Return the fingerprint of the context under which an index states it was built, or None if it states none.

    A store of plain vectors may state that in its place.

    Args:
        index: a store of Chroma, LanceDB, Milvus, PGVector, PGVectorStore or Qdrant, whose collection carries the
            context; an InMemoryVectorStore, FAISS or ContextualVectorStore; a ContextualIndex, or its directory.

    Raises:
        ConfigurationError: a store of this kind cannot state its context; the message names an alternative.
        ContextMismatchError: the documents of an InMemoryVectorStore or FAISS store name several contexts.
    """
    own = _own_index(index)
    return readable_kind_of(index).read(index) if own is None else context_of_index(own)


def write_context(store: VectorStore, embeddings: ContextBoundMixin, *, replace: bool = False) -> None:
    """Write into a store that it was built under the embeddings' context. Its other metadata stay.

    With `side="query"` write that it holds plain vectors of their model.

    You vouch for it: vectors do not show under which context they were made.

    Args:
        store: a store of Chroma, LanceDB, Milvus, PGVector, PGVectorStore or Qdrant (server and client from 1.16),
            whose collection carries the context; or an InMemoryVectorStore or FAISS store, whose documents carry it.
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

    Collections of the supported databases state it themselves, other stores by the stamps of their documents: of all in
    an InMemoryVectorStore or FAISS store, of the hundred that a search finds in any other. One document of another
    context makes the result "another context"; else one without a stamp makes it "index carries no context". A
    store that cannot be asked carries none, and the reason is logged.

    Embeddings with `side="query"` accept an index that states no context, or plain vectors of their model.

    Example:
        ```python
        check_index(store, embeddings).raise_if_different()  # names both fingerprints and the way out
        ```

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ConfigurationError: `index` is neither a vector store nor an index.
    """
    yours = embeddings.stamp
    own = _own_index(index)
    if own is not None:
        return ContextCheck(context_of_index(own), yours)
    if not isinstance(index, VectorStore):
        raise ConfigurationError(
            f"a vector store, a ContextualIndex or its directory is expected, found {type(index).__name__}"
        )
    return ContextCheck.of_stamps(stamps_of(index, embeddings), yours)


def refuse_another_context(store: VectorStore, embeddings: ContextBoundMixin) -> bool:
    """Raise ContextMismatchError if the store states another context; nothing is searched.

    Returns:
        Whether it states the embeddings' own. Many stores cannot state any.
    """
    if _own_index(store) is None and not is_readable(store):
        return False
    check = ContextCheck(read_context(store), embeddings.stamp)
    check.raise_if_another()
    return check.theirs is not None


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
        # The store may have no other place for the context than its documents.
        kept = documents if issubclass(store_class, ContextualVectorStore) else stamped(documents, embeddings)
        return store_class.from_documents(kept, embeddings, **options)
    adding = {name: value for name, value in options.items() if name in kind.options_of_adding}
    opening = {name: value for name, value in options.items() if name not in adding}
    store = kind.open(store_class, embeddings, opening)
    _claim(store, kind, embeddings)
    _add(store, kind, documents, embeddings, adding)
    return store if "relevance_score_fn" in options else with_cosine_relevance(store)


def add_documents(
    store: VectorStore, documents: list[Document], embeddings: ContextBoundMixin, options: dict[str, Any]
) -> list[str]:
    """Call `store.add_documents`, after `refuse_another_context`."""
    refuse_another_context(store, embeddings)
    kind = find_kind(store)
    if kind is not None:
        return _add(store, kind, documents, embeddings, options)
    if isinstance(store, ContextualVectorStore):
        return store.add_documents(documents, **options)
    found = stamps_of(store, embeddings)
    ContextCheck.of_stamps(found, embeddings.stamp).raise_if_another()
    return store.add_documents(_restamped(documents, embeddings, every=None not in found), **options)


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
    every = kind.stamps_documents and (kind.count(store) == 0 or kind.read(store) is not None)
    return kind.add(store, _restamped(documents, embeddings, every), options)


def _restamped(documents: list[Document], embeddings: ContextBoundMixin, every: bool) -> list[Document]:
    """Return the documents with the stamp: every one, or only those that have one, of an earlier embedding."""
    return [
        found
        for document in documents
        for found in (stamped([document], embeddings) if every or CONTEXT_KEY in document.metadata else [document])
    ]


def _own_index(index: Index) -> IndexReader | str | Path | None:
    """Return an index of our own, or a directory for one; None for any other store."""
    own = index.index if isinstance(index, ContextualVectorStore) else index
    return own if isinstance(own, IndexReader | str | Path) else None
