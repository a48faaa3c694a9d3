"""FAISS: the context is in the documents."""

from collections.abc import Callable, Collection
from typing import Any

from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.langchain.stores.document_stamps import DocumentStamps
from cde_retrievers.langchain.stores.interface import cosine_itself, cosine_of_squared_distance, dictionary_filter
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.vectors import checked_width

_INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT


class FAISS(DocumentStamps):
    """`langchain_community.vectorstores.FAISS`; what it saves contains the stamps."""

    name = "FAISS"

    def open(self, store_class: Any, embeddings: Any, options: dict[str, Any]) -> VectorStore:
        """Create an empty store. FAISS's `from_documents` needs documents."""
        faiss = imported("faiss", "a FAISS store", package="faiss-cpu")
        docstore = imported("langchain_community.docstore.in_memory", "a FAISS store", package="langchain-community")
        by_product = getattr(options.get("distance_strategy"), "value", None) == "MAX_INNER_PRODUCT"
        made = (faiss.IndexFlatIP if by_product else faiss.IndexFlatL2)(checked_width(embeddings.embedder.width))
        given = {"docstore": docstore.InMemoryDocstore(), "index_to_docstore_id": {}, **options}
        store: VectorStore = store_class(embeddings, made, **given)
        return store

    def metadata(self, store: Any) -> Collection[dict[str, Any]]:
        """Return the metadata of every document."""
        return [_document(store, identity).metadata for identity in store.index_to_docstore_id.values()]

    def stamp(self, store: Any, fingerprint: str) -> None:
        """Give every document new metadata with the stamp."""
        for identity in store.index_to_docstore_id.values():
            document = _document(store, identity)
            document.metadata = {**document.metadata, CONTEXT_KEY: fingerprint}

    def filter(self, fingerprint: str, also: Any, store: Any) -> Any:
        """Return a filter dictionary, or a function of a document's metadata if `also` is one."""
        if callable(also):
            return lambda metadata: metadata.get(CONTEXT_KEY) == fingerprint and bool(also(metadata))
        return dictionary_filter(fingerprint, also, self.name, "a dictionary or a function of a document's metadata")

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the index's metric: the product, or the square of the distance."""
        return cosine_itself if store.index.metric_type == _INNER_PRODUCT else cosine_of_squared_distance


def _document(store: Any, identity: str) -> Any:
    return store.docstore.search(identity)
