"""The queries of LlamaIndex's vector store interface, answered from an index.

Axes: W width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import ImageNode, IndexNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from cde_retrievers.errors import ConfigurationError, FilterError, shown
from cde_retrievers.index import ContextualIndex, Document, Filter, Hit
from cde_retrievers.index.filters import compile_filter
from cde_retrievers.llama_index.vector_nodes import SOURCE_FIELD, TYPE_FIELD, length_of, to_node
from cde_retrievers.retrieval.document import checked_ids
from cde_retrievers.validation.vectors import Embeddings, checked_vectors, unit_rows

_OBJECTS = {ImageNode.class_name(), IndexNode.class_name()}
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_k")
_MIN_PREFETCH, _PREFETCH_PER_HIT = 100, 4


class NodeSearch:
    """Finds nodes in an index.

    Args:
        index: its documents were made of nodes.
        width: W, the length of a vector.
        lock: held by whoever changes the index.
    """

    def __init__(self, index: ContextualIndex, width: int, lock: RLock) -> None:
        self._index = index
        self._width = width
        self._lock = lock

    def answer(self, query: VectorStoreQuery, fingerprint: str, options: Mapping[str, Any]) -> VectorStoreQueryResult:
        """The nodes nearest to a query that was embedded under a context; see `ContextualVectorStore.query`."""
        refuse_options(options, known=_MMR_OPTIONS)
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise ConfigurationError(
                f"query mode {query.mode.value!r} needs more than vectors; use 'default' or 'mmr', or fuse this "
                f"retriever with a keyword retriever, such as llama_index.core.retrievers.QueryFusionRetriever"
            )
        k = _positive("similarity_top_k", query.similarity_top_k)
        is_diverse = query.mode == VectorStoreQueryMode.MMR
        # These look at the index more than once, and no document may go in between.
        with self._lock if is_diverse or query.node_ids is not None else nullcontext():
            hits = self._diverse(query, fingerprint, k, options) if is_diverse else self._nearest(query, fingerprint, k)
        return VectorStoreQueryResult(
            nodes=[to_node(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    def of_source(self, ref_doc_ids: Sequence[str]) -> Filter | None:
        """The nodes made of these documents; None if no node says what it was made of."""
        return {SOURCE_FIELD: {"$in": list(ref_doc_ids)}} if SOURCE_FIELD in self._index.fields else None

    def among(self, node_ids: Iterable[str], query_filter: Filter) -> list[Document]:
        """Those of the nodes that are there and pass, in the order asked for."""
        known = self._index.get(list(dict.fromkeys(checked_ids(node_ids))))
        found = [document for document in known if document is not None]
        if not found:
            return []
        passes = compile_filter(query_filter, self._index.fields)
        return [document for document in found if passes(document.metadata)]

    def vector(self, query: VectorStoreQuery) -> Embeddings:
        """The query's vector (W,), of length 1."""
        found = length_of(query.query_embedding)
        if found != self._width:
            raise ConfigurationError(
                f"the query's vector must have {self._width} numbers, found {found}; give the index the store's "
                f"embed_model: VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)"
            )
        unit: Embeddings = unit_rows(checked_vectors([query.query_embedding], 1, self._width, ConfigurationError))[0]
        return unit

    def _nearest(self, query: VectorStoreQuery, fingerprint: str, k: int) -> list[Hit]:
        vector, query_filter = self.vector(query), to_index_filter(query.filters)
        node_ids = [] if query.node_ids is None else checked_ids(query.node_ids)
        doc_ids = [] if query.doc_ids is None else checked_ids(query.doc_ids)
        if doc_ids:
            sources = self.of_source(doc_ids)
            if sources is None:
                return []
            query_filter = {"$and": [query_filter, sources]}
        if node_ids and not self._means_everything(node_ids):
            return self._nearest_among(self.among(node_ids, query_filter), vector, k)
        return self._index.search_embedded(vector[None], fingerprint, k, query_filter or None)[0]

    def _means_everything(self, node_ids: Sequence[str]) -> bool:
        """Whether the ids are those of all image and index nodes.

        LlamaIndex keeps a list of these, next to a store that keeps the text, and `as_retriever` sends that list with
        every query, although it means all nodes.
        """
        kinds = {document.metadata.get(TYPE_FIELD) for document in self.among(node_ids, {})}
        if not kinds or not kinds <= _OBJECTS:
            return False
        return set(self._index.ids({TYPE_FIELD: {"$in": sorted(_OBJECTS)}})) <= set(node_ids)

    def _nearest_among(self, documents: Sequence[Document], vector: Embeddings, k: int) -> list[Hit]:
        scores = self._vectors(documents) @ vector
        best = np.argsort(-scores, kind="stable")[:k]
        return [_hit(documents[row], float(scores[row])) for row in best]

    def _diverse(self, query: VectorStoreQuery, fingerprint: str, k: int, options: Mapping[str, Any]) -> list[Hit]:
        prefetched = _positive(
            "mmr_prefetch_k", options.get("mmr_prefetch_k", max(_MIN_PREFETCH, _PREFETCH_PER_HIT * k))
        )
        hits = {hit.id: hit for hit in self._nearest(query, fingerprint, prefetched)}
        vector: Any = self.vector(query).astype(np.float64)
        scores, ids = get_top_k_mmr_embeddings(
            vector,
            list(self._vectors(list(hits.values())).astype(np.float64)),
            similarity_top_k=k,
            embedding_ids=list(hits),
            mmr_threshold=_share("mmr_threshold", options.get("mmr_threshold", query.mmr_threshold)),
        )
        return [replace(hits[i], score=float(score)) for score, i in zip(scores, ids, strict=True)]

    def _vectors(self, found: Sequence[Document] | Sequence[Hit]) -> Embeddings:
        return self._index.vectors([str(one.id) for one in found])


def _share(name: str, value: object) -> float | None:
    if value is not None and not (isinstance(value, int | float | np.floating) and 0 <= value <= 1):
        raise ConfigurationError(f"{name} must be a number from 0 to 1, found {shown(value)}")
    return None if value is None else float(value)


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} must be a positive whole number, found {shown(value)}")
    return value


def refuse_options(options: Mapping[str, Any], known: Sequence[str] = ()) -> None:
    """Raise ConfigurationError if there is an option that would have no effect."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigurationError(
            f"option {unknown[0]!r} is unknown to ContextualVectorStore; "
            + (f"use {known}" if known else "leave it out")
        )


def _hit(document: Document, score: float) -> Hit:
    return Hit(str(document.id), document.text, document.metadata, score)


def _compared(name: str) -> Callable[[str, Any], Filter]:
    return lambda field, wanted: {field: {name: wanted}}


def _contains_each(name: str) -> Callable[[str, Any], Filter]:
    def build(field: str, wanted: Any) -> Filter:
        if not isinstance(wanted, list) or not wanted:
            raise FilterError(f"ANY and ALL on {field!r} take a non-empty list of values, found {shown(wanted)}")
        return {name: [{field: {"$contains": value}} for value in wanted]}

    return build


def _contains_text(field: str, wanted: Any) -> Filter:
    if not isinstance(wanted, str):
        raise FilterError(f"TEXT_MATCH on {field!r} takes a text, found {shown(wanted)}")
    return {field: {"$contains": wanted}}


def _is_empty(field: str, _: Any) -> Filter:
    return {"$or": [{field: {"$exists": False}}, {field: {"$in": [None, "", []]}}]}


_OPERATORS: Mapping[FilterOperator, Callable[[str, Any], Filter]] = {
    FilterOperator.EQ: _compared("$eq"),
    FilterOperator.NE: _compared("$ne"),
    FilterOperator.GT: _compared("$gt"),
    FilterOperator.GTE: _compared("$gte"),
    FilterOperator.LT: _compared("$lt"),
    FilterOperator.LTE: _compared("$lte"),
    FilterOperator.IN: _compared("$in"),
    FilterOperator.NIN: _compared("$nin"),
    FilterOperator.CONTAINS: _compared("$contains"),
    FilterOperator.ANY: _contains_each("$or"),
    FilterOperator.ALL: _contains_each("$and"),
    FilterOperator.TEXT_MATCH: _contains_text,
    FilterOperator.IS_EMPTY: _is_empty,
}


def to_index_filter(filters: MetadataFilters | None) -> Filter:
    """The same test of a document's metadata; without filters one that every document passes.

    Raises:
        FilterError: an operator has no counterpart, or its value is of the wrong kind.
    """
    if filters is None or not filters.filters:
        return {}
    parts = [_one(part) for part in filters.filters]
    if filters.condition is FilterCondition.OR:
        return {"$or": parts}
    # LlamaIndex's NOT: none of the parts holds.
    return {"$not": {"$or": parts}} if filters.condition is FilterCondition.NOT else {"$and": parts}


def _one(part: MetadataFilter | MetadataFilters) -> Filter:
    if isinstance(part, MetadataFilters):
        return to_index_filter(part)
    build = _OPERATORS.get(part.operator)
    if build is None:
        raise FilterError(
            f"operator {part.operator.name} on {part.key!r} has no counterpart here; use one of "
            f"{', '.join(operator.name for operator in _OPERATORS)}"
        )
    if part.value is None and part.operator is not FilterOperator.IS_EMPTY:
        raise FilterError(f"{part.operator.name} on {part.key!r} has no value; to find missing ones, use IS_EMPTY")
    return build(part.key, part.value)
