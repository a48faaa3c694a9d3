"""Guards of LangChain stores: the context stamped on documents and collections, checked before and while searching."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, InvalidTextError
from cde_retrievers.index import context_of_index
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.stores import StoreKind, askable_kind_of, can_be_asked, find_kind, kind_of


def collection_metadata(embeddings: ContextBoundMixin) -> dict[str, str]:
    """The metadata to create a new collection with, which record the context it is built under.

    Chroma and PGVector take it as `collection_metadata=`, Qdrant as `collection_create_options={"metadata": ...}`.
    A collection that exists keeps what it says: see `write_context`.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
    """
    return {CONTEXT_KEY: embeddings.context.fingerprint}


def read_context(store: VectorStore | IndexReader | str | Path) -> str | None:
    """Fingerprint of the context that a store says it was built under, as it is stored now; None if it says nothing.

    Args:
        store: Chroma, Qdrant, PGVector, InMemoryVectorStore or ContextualVectorStore; a ContextualIndex, or its
            directory.

    Raises:
        ConfigurationError: a store of this kind cannot be asked; the message says what to do in its place.
        ContextMismatchError: the documents of an InMemoryVectorStore name several contexts.
    """
    own = (
        getattr(store, "index", None) if isinstance(store, VectorStore) else store
    )  # the index of a ContextualVectorStore
    if isinstance(own, IndexReader | str | Path):
        return context_of_index(own)
    return askable_kind_of(store).read(store)


def write_context(store: VectorStore, embeddings: ContextBoundMixin, *, replace: bool = False) -> None:
    """Make a store say that it was built under the embeddings' context. Its other metadata stay.

    You vouch for it: nothing can tell from vectors under which context they were made.

    Args:
        store: Chroma, Qdrant (server and client from 1.16) or PGVector, whose collection carries it; or an
            InMemoryVectorStore, whose documents do.
        embeddings: what its documents were, or will be, embedded with.
        replace: write it even if the store says something else, because everything in it was embedded again.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ContextMismatchError: the store says something else, and `replace` is False.
        ConfigurationError: a store of this kind cannot carry it, or did not keep it.
    """
    fingerprint = embeddings.context.fingerprint
    kind = askable_kind_of(store)
    if not replace and kind.read(store) not in (None, fingerprint):
        raise ContextMismatchError(
            f"the store was built under context {kind.read(store)}, not {fingerprint}; load the context "
            f"that was saved with it, or empty it, add its documents again and pass replace=True"
        )
    kind.write(store, fingerprint)
    if kind.read(store) != fingerprint:
        raise ConfigurationError(
            f"{kind.name} accepted the context but did not keep it; update its server, or add "
            f"stamped(documents, embeddings) and search with context_filter(embeddings, store)"
        )


def check_index(store: VectorStore | IndexReader | str | Path, embeddings: ContextBoundMixin) -> ContextCheck:
    """Compare the context that a store says it was built under with the one that queries would be embedded under.

    Example:
        ```python
        check_index(store, embeddings).require_same()  # raises with both fingerprints and the way out
        ```

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ConfigurationError: a store of this kind cannot be asked; the message says what to do in its place.
        ContextMismatchError: the documents of an InMemoryVectorStore name several contexts.
    """
    return ContextCheck(theirs=read_context(store), yours=embeddings.context.fingerprint)


def context_filter(embeddings: ContextBoundMixin, store: VectorStore | str, also: Any = None) -> Any:
    """A store's own filter for documents that are `stamped` with the embeddings' context: others give no hits at all.

    Args:
        embeddings: what queries are embedded with; the filter is made for their present context.
        store: the store that is searched, or the name of its kind: "chroma", "qdrant", "pgvector", "inmemory".
        also: another filter of the same kind, which documents must pass too.

    Returns:
        For `filter=`: a dictionary for Chroma and PGVector, a `qdrant_client.models.Filter`, or a function of a
        document for the store in memory.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        ConfigurationError: the kind of store or of filter is not known.
        MissingDependencyError: the store's package is not installed.
    """
    known = None if isinstance(store, str) else store
    return kind_of(store).filter(embeddings.context.fingerprint, also, known)


def stamped(documents: Iterable[Document], embeddings: ContextBoundMixin) -> list[Document]:
    """Copies of the documents, with the context's fingerprint in their metadata under `CONTEXT_KEY`.

    Add these to the store in place of the documents; `context_filter` then finds those of one context only.

    Raises:
        ContextNotFittedError: the context is not fitted yet.
        InvalidTextError: an item is not a document.
    """
    fingerprint = embeddings.context.fingerprint
    return [_with_stamp(document, fingerprint) for document in documents]


def _with_stamp(document: Document, fingerprint: str) -> Document:
    if not isinstance(document, Document):
        raise InvalidTextError(
            f"only a LangChain Document can carry a context in its metadata, found {type(document).__name__}; "
            f"wrap texts: Document(page_content=text)"
        )
    return document.model_copy(update={"metadata": {**document.metadata, CONTEXT_KEY: fingerprint}})


def build_store(
    documents: list[Document],
    embeddings: ContextualEmbeddings,
    store_class: type[VectorStore],
    options: dict[str, Any],
) -> VectorStore:
    """As `store_class.from_documents`, but a store of another context is refused before anything is added to it.

    Raises:
        ContextMismatchError: the collection exists, and was built under another context or does not say.
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
    store: VectorStore, documents: list[Document], embeddings: ContextualEmbeddings, options: dict[str, Any]
) -> list[str]:
    """As `store.add_documents`, unless the store says that it was built under another context.

    Raises:
        ContextMismatchError: it does.
    """
    refuse_another_context(store, embeddings)
    kind = find_kind(store)
    return _add(store, kind, documents, embeddings, options) if kind else store.add_documents(documents, **options)


def refuse_another_context(store: VectorStore, embeddings: ContextualEmbeddings) -> None:
    """Raise ContextMismatchError if the store says that it was built under another context; many say nothing."""
    if can_be_asked(store):
        _refuse_another(check_index(store, embeddings))


def _refuse_another(check: ContextCheck) -> None:
    if check.theirs is not None:
        check.raise_if_different()


def _claim(store: VectorStore, kind: StoreKind, embeddings: ContextualEmbeddings) -> None:
    check = check_index(store, embeddings)
    _refuse_another(check)
    held = kind.count(store)
    if held and check.theirs is None:
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
    embeddings: ContextualEmbeddings,
    options: dict[str, Any],
) -> list[str]:
    # Stamped and unstamped documents together would read as two contexts.
    to_be_stamped = kind.stamps_documents and (kind.count(store) == 0 or kind.read(store) is not None)
    return kind.add(store, stamped(documents, embeddings) if to_be_stamped else documents, options)
