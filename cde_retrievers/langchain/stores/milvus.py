"""Milvus: the context is in the collection's properties."""

import json
from collections.abc import Callable
from copy import copy
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.langchain.stores.interface import (
    StoreKind,
    checked_filter,
    cosine_itself,
    cosine_of_squared_distance,
)
from cde_retrievers.langchain.stores.layout import DocumentLayout, FlatLayout
from cde_retrievers.stores.collection import Layout
from cde_retrievers.stores.milvus import MilvusCollection


class Milvus(StoreKind):
    """`langchain_milvus.Milvus`, in a file or on a server. The first documents create the collection."""

    name = "Milvus"
    options_of_adding = frozenset({"ids", "batch_size"})

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open the collection; the first documents create it if it does not exist."""
        # Properties given to the store would replace those of a collection that exists, its context among them.
        properties = {**(options.get("collection_properties") or {})}
        properties.pop(CONTEXT_KEY, None)
        store = store_class(embeddings, **{**options, "collection_properties": properties or None})
        found = _described(store)
        if found is not None:
            store.auto_id = bool(found.get("auto_id", store.auto_id))
        opened: VectorStore = store
        return opened

    def count(self, store: Any) -> int:
        """Return the number of documents in the collection."""
        if _described(store) is None:
            return 0
        query = {"filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong", "timeout": store.timeout}
        return int(store.client.query(store.collection_name, **query)[0]["count(*)"])

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the properties of the collection, or of the one that is to be created, or None."""
        found = _described(store)
        properties = store.collection_properties if found is None else found.get("properties")
        fingerprint: str | None = (properties or {}).get(CONTEXT_KEY)
        return fingerprint

    def write(self, store: Any, fingerprint: str) -> None:
        """Set the property; Milvus keeps the others. A collection that does not exist yet is created with it."""
        ours = {CONTEXT_KEY: fingerprint}
        if _described(store) is None:
            store.collection_properties = {**(store.collection_properties or {}), **ours}
        else:
            store.client.alter_collection_properties(store.collection_name, properties=ours, timeout=store.timeout)

    def id_of(self, document: Document) -> str | None:
        """Return the primary key, which LangChain keeps in the metadata."""
        found = document.metadata.get("pk")
        return document.id if found is None else str(found)

    def add(self, store: Any, documents: list[Document], options: dict[str, Any]) -> list[str]:
        """Add documents -> their ids: those given, or else their own, or else new ones.

        Documents of the same ids are replaced, which an insertion into Milvus does not do.
        """
        if store.auto_id or not documents:
            return super().add(store, documents, options)
        given = {**options}
        ids = given.pop("ids", None) or [document.id or uuid4().hex for document in documents]
        if _described(store) is None:
            return super().add(store, documents, {"ids": ids, **given})
        store._extract_fields()  # metadata of unknown fields are left out, and another store may have made them
        store.upsert(ids, documents, **given)
        return list(ids)

    def collection(self, store: Any) -> tuple[MilvusCollection, Layout]:
        """Return the collection or alias. Metadata are in a field of their own, or beside the text."""
        beside = store._metadata_field is None
        names = store.collection_name, store._primary_field, store.vector_fields[0]
        layout = FlatLayout(store._text_field) if beside else DocumentLayout(store._text_field, store._metadata_field)
        return MilvusCollection(store.client, *names, CONTEXT_KEY if beside else None), layout

    def over(self, store: Any, collection: MilvusCollection, embeddings: Embeddings) -> VectorStore:
        """Return a store over another collection, whose fields it reads again."""
        twin: Any = copy(store)
        twin.collection_name, twin.embedding_func, twin.col = collection.name, embeddings, None
        twin.collection_properties = None  # these would replace those of the new collection
        twin._extract_fields()
        twin._create_search_params()  # a store that was opened over a missing collection has none
        opened: VectorStore = twin
        return opened

    def filter(self, fingerprint: str, also: Any, store: Any) -> str:
        """Return an expression, for `expr=`."""
        field = getattr(store, "_metadata_field", None)
        key = f'{field}["{CONTEXT_KEY}"]' if field else CONTEXT_KEY
        ours = f"{key} == {json.dumps(fingerprint)}"
        also = checked_filter(also, str, "an expression", self.name)
        return f"({also}) and {ours}" if also else ours

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the metric of the vectors: "L2", which is squared, "COSINE" or "IP"."""
        field = store.vector_fields[0]
        index = store._get_index(field)
        found = store._index_param_map.get(field) if index is None else index["index_param"]
        metric = (found or {}).get("metric_type", "L2")
        return cosine_of_squared_distance if metric == "L2" else cosine_itself


def _described(store: Any) -> dict[str, Any] | None:
    """Return the server's description of the collection, or None if there is none yet."""
    if not store.client.has_collection(store.collection_name, timeout=store.timeout):
        return None
    found: dict[str, Any] = store.client.describe_collection(store.collection_name, timeout=store.timeout)
    return found
