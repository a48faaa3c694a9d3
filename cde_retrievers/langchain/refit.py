"""Refit of a served LangChain store: its documents under a new context, in a collection that takes its place."""

import json
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.stamps import stamped
from cde_retrievers.langchain.stores.interface import StoreKind
from cde_retrievers.langchain.stores.registry import STORE_KINDS, readable_kind_of
from cde_retrievers.langchain.vector_documents import checked_documents
from cde_retrievers.langchain.vector_store import ContextualVectorStore
from cde_retrievers.stores.collection import Collection, Layout
from cde_retrievers.stores.refit import RefitJob, StoreRefit, refit
from cde_retrievers.stores.served import ServedStore
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated


@validated
def refit_store(
    store: VectorStore,
    embeddings: ContextBoundEmbeddings,
    context_path: str | Path,
    new_documents: Iterable[Document] = (),
    *,
    switch: bool = True,
    batch_size: int = 256,
) -> StoreRefit[VectorStore, ContextBoundEmbeddings]:
    """Fit a new context on the documents of a served store, and move the store to it.

    Every document is read from the store, embedded under the new context, stamped with it, and written into a new
    collection. That is checked, and then the name that readers use leads to it. The old collection is kept until
    `drop_old()` of the result. After an interruption the same call continues: what is in the new collection already is
    not embedded again. Stop writing to the store meanwhile; reading goes on.

    A reader that still embeds queries under the old context gets a ContextMismatchError from its `ContextualRetriever`.

    Example:
        ```python
        done = refit_store(store, embeddings, "context-2")
        retriever = ContextualRetriever(embeddings=done.embeddings, vectorstore=done.store)
        done.drop_old()  # once every reader has the new context
        ```

    Args:
        store: a store of Chroma, Milvus, PGVectorStore or Qdrant.
        embeddings: its embeddings. They keep their context, and their settings are those of the new one.
        context_path: a new directory for the new context, or that of an interrupted call.
        new_documents: further documents, which replace those of the same ids. One without an id gets one of its text
            and metadata.
        switch: whether the store's name leads to the new collection. Qdrant needs a store that is opened by an alias
            for that.
        batch_size: number of documents that are read, embedded and written at once.

    Raises:
        ConfigurationError: the store cannot be refitted, or its name cannot be switched; nothing was done.
        StoreRefitError: documents are changed all the time, or another collection has a name that is needed.
        ContextMismatchError: `context_path` holds the context of another model, or the store vectors of another width.
        ContextTooSmallError: there are fewer than two distinct documents.
    """
    check_whole("batch_size", batch_size, 1)
    served = _Served(store)
    new = {served.collection.id_of(_id_of(each)): each for each in checked_documents(new_documents)}
    return refit(RefitJob(served, embeddings, new, batch_size), Path(context_path), switch)


class _Served(ServedStore[VectorStore, Document, ContextBoundEmbeddings]):
    """A LangChain store."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._kind, self.collection, self.layout = _parts(store)

    def fit(self, embeddings: ContextBoundEmbeddings, texts: Iterable[str]) -> ContextBoundEmbeddings:
        """Return a copy of the embeddings, fitted on the texts."""
        return copy(embeddings).fit(texts, refit=True)

    def over(self, collection: Collection, embeddings: ContextBoundEmbeddings) -> VectorStore:
        """Return a store of the same class."""
        return self._kind.over(self._store, collection, embeddings)

    def text_of(self, item: Document) -> str:
        """Return the text."""
        return item.page_content

    def add(self, store: VectorStore, items: Sequence[Document], embeddings: ContextBoundEmbeddings) -> None:
        """Add documents."""
        self._kind.add(store, stamped(items, embeddings), {"ids": [_id_of(item) for item in items]})


def _id_of(document: Document) -> str:
    """Return the id of a document, or one made of its text and metadata, which is the same in every process."""
    if document.id is not None:
        return document.id
    content = json.dumps([document.page_content, document.metadata], sort_keys=True, default=str)
    return str(uuid5(NAMESPACE_OID, content))


def _parts(store: VectorStore) -> tuple[StoreKind, Collection, Layout]:
    if isinstance(store, ContextualVectorStore):
        raise ConfigurationError("a ContextualVectorStore is refitted by its index: store.index.refit()")
    kind = readable_kind_of(store)
    found = kind.collection(store)
    if found is None:
        known = sorted(each.name for each in STORE_KINDS.values() if type(each).collection is not StoreKind.collection)
        raise ConfigurationError(
            f"a store of kind {kind.name} cannot be refitted: {kind.no_refit_reason}. Fit the embeddings on its "
            f"documents with refit=True, and build a new store from them; refitted are {', '.join(known)}"
        )
    return kind, *found
