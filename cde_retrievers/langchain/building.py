"""Documents into a store that says under which context they are embedded."""

from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.guards import check_index, write_context
from cde_retrievers.langchain.stamps import stamped
from cde_retrievers.langchain.stores import StoreKind, can_be_asked, find_kind
from cde_retrievers.verdict import ContextCheck


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
        check.require_same()


def _claim(store: VectorStore, kind: StoreKind, embeddings: ContextualEmbeddings) -> None:
    check = check_index(store, embeddings)
    _refuse_another(check)
    held = kind.count(store)
    if held and check.theirs is None:
        raise ContextMismatchError(
            f"this {kind.name} store already holds {held} documents and does not say under which context; take a new "
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
    # Stamps beside documents that have none would read as two contexts.
    to_be_stamped = kind.stamps_documents and (kind.count(store) == 0 or kind.read(store) is not None)
    return kind.add(store, stamped(documents, embeddings) if to_be_stamped else documents, options)
