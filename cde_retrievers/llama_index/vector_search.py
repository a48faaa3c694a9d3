"""Searches of an index by LlamaIndex's queries, under the context of its embedding.

Axes: W width.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import ImageNode, IndexNode
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery, VectorStoreQueryMode

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex, Document, Filter, Hit
from cde_retrievers.index.filters import Missing, matching
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.query_modes import SearchRequest
from cde_retrievers.llama_index.ranking import ranked
from cde_retrievers.llama_index.vector_documents import SOURCE_FIELD, TYPE_FIELD
from cde_retrievers.llama_index.vector_filters import to_index_filter
from cde_retrievers.retrieval.document import checked_ids
from cde_retrievers.validation.numbers import check_whole, is_number
from cde_retrievers.validation.vectors import Embeddings

_OBJECTS = {ImageNode.class_name(), IndexNode.class_name()}
_MIN_PREFETCH, _PREFETCH_PER_HIT = 100, 4


class IndexSearch:
    """Searches an index with queries embedded under its own context; errors are those of `ContextualVectorStore`.

    Args:
        embed_model: an embedding under the index's context.
        index: the index to search.
        missing: what a field of a filter is that no node has.

    Attributes:
        lock: held by changes, and by calls that read the index more than once.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index was built under another context.
    """

    def __init__(self, embed_model: ContextBoundEmbedding, index: ContextualIndex, missing: Missing) -> None:
        self.embed_model = embed_model
        self.index = index
        self.missing = missing
        self.lock = RLock()
        self.check_context()

    def check_context(self) -> str:
        """Return the fingerprint that index and embedding share, or raise ContextMismatchError."""
        yours = self.embed_model.context.fingerprint
        ContextCheck(theirs=self.index.context.fingerprint, yours=yours).raise_if_different()
        return yours

    def hits(self, query: VectorStoreQuery, request: SearchRequest, options: Mapping[str, Any]) -> list[Hit]:
        """Return the best nodes for a query, best first; the options are those of mode "mmr"."""
        is_diverse = query.mode == VectorStoreQueryMode.MMR
        # These read the index more than once, and no document may be deleted between.
        is_repeated = is_diverse or request.alpha is not None or query.node_ids is not None
        fingerprint = self.check_context()
        with self.lock if is_repeated else nullcontext():
            if is_diverse:
                found = self._diverse(query, request, fingerprint, options)
            else:
                found = self._best(query, request, fingerprint)
        self.check_context()  # another thread may have refitted the index
        return found

    def select(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[Document]:
        """Return documents that have these ids and pass the filters, as far as given."""
        allowed = to_index_filter(filters)
        with self.lock:
            if node_ids is None:
                return list(self.index.documents(allowed, missing=self.missing))
            return self._among(node_ids, allowed)

    def of_source(self, ref_doc_ids: Sequence[str]) -> Filter | None:
        """Return a filter for the nodes of these documents, or None if no node names its document."""
        return {SOURCE_FIELD: {"$in": list(ref_doc_ids)}} if SOURCE_FIELD in self.index.fields else None

    def _among(self, node_ids: Iterable[str], allowed: Filter) -> list[Document]:
        """Return the documents with these ids that pass the filter, in the order of the ids."""
        known = self.index.get(list(dict.fromkeys(checked_ids(node_ids))))
        found = [document for document in known if document is not None]
        return matching(found, allowed, self.index.fields, self.missing) if found else []

    def _best(self, query: VectorStoreQuery, request: SearchRequest, fingerprint: str) -> list[Hit]:
        """Return the best nodes among those that the query allows."""
        allowed = to_index_filter(query.filters)
        node_ids = [] if query.node_ids is None else checked_ids(query.node_ids)
        doc_ids = [] if query.doc_ids is None else checked_ids(query.doc_ids)
        if doc_ids:
            sources = self.of_source(doc_ids)
            if sources is None:
                return []
            allowed = {"$and": [allowed, sources]}
        if node_ids and not self._means_everything(node_ids):
            return self._ranked(self._among(node_ids, allowed), request)
        if request.alpha is not None:
            return self._weighed(request, request.alpha, fingerprint, allowed or None)
        return self._searched(request, fingerprint, allowed or None)

    def _searched(self, request: SearchRequest, fingerprint: str, allowed: Filter | None) -> list[Hit]:
        """Search the index in the mode of the request, in "hybrid" by its own fusion."""
        if request.vector is None:
            return self.index.search(request.text or "", request.k, allowed, mode="lexical", missing=self.missing)
        texts = None if request.text is None else [request.text]
        (found,) = self.index.search_embedded(
            request.vector[None], fingerprint, request.k, allowed, texts=texts, missing=self.missing
        )
        return found

    def _weighed(self, request: SearchRequest, alpha: float, fingerprint: str, allowed: Filter | None) -> list[Hit]:
        """Search by alpha s + (1 - alpha) l / M, among ever more candidates until no other node can be better."""
        count = max(_MIN_PREFETCH, _PREFETCH_PER_HIT * request.k)
        while True:
            near = self._searched(SearchRequest("dense", count, request.vector, None), fingerprint, allowed)
            named = self._searched(SearchRequest("lexical", count, None, request.text), fingerprint, allowed)
            hits = self._ranked(list({hit.id: hit for hit in (*near, *named)}.values()), request)
            if len(near) < count:  # these are all
                return hits
            share = named[-1].score / named[0].score if len(named) == count else 0.0
            if hits[-1].score >= alpha * near[-1].score + (1 - alpha) * share:
                return hits
            count *= 2

    def _means_everything(self, node_ids: Sequence[str]) -> bool:
        """Return whether the ids are those of all image and index nodes.

        LlamaIndex keeps a list of these next to a store that keeps the text, and `as_retriever` sends that list with
        every query, although it means all nodes.
        """
        kinds = {document.metadata.get(TYPE_FIELD) for document in self._among(node_ids, {})}
        if not kinds or not kinds <= _OBJECTS:
            return False
        return set(self.index.ids({TYPE_FIELD: {"$in": sorted(_OBJECTS)}})) <= set(node_ids)

    def _ranked(self, documents: Sequence[Document | Hit], request: SearchRequest) -> list[Hit]:
        asked = replace(request, vector=self._cut(request.vector))
        return ranked(documents, self._vectors(documents), asked, self.index.context)

    def _diverse(
        self, query: VectorStoreQuery, request: SearchRequest, fingerprint: str, options: Mapping[str, Any]
    ) -> list[Hit]:
        prefetched = options.get("mmr_prefetch_k", max(_MIN_PREFETCH, _PREFETCH_PER_HIT * request.k))
        check_whole("mmr_prefetch_k", prefetched, 1)
        threshold = options.get("mmr_threshold", query.mmr_threshold)
        if threshold is not None and not (is_number(threshold) and 0 <= threshold <= 1):
            raise ConfigurationError(f"mmr_threshold must be a number from 0 to 1, found {shown(threshold)}")
        hits = {hit.id: hit for hit in self._best(query, replace(request, k=prefetched), fingerprint)}
        vector: Any = np.asarray(self._cut(request.vector), dtype=np.float64)
        scores, ids = get_top_k_mmr_embeddings(
            vector,
            list(self._vectors(list(hits.values())).astype(np.float64)),
            similarity_top_k=request.k,
            embedding_ids=list(hits),
            mmr_threshold=None if threshold is None else float(threshold),
        )
        return [replace(hits[i], score=float(score)) for score, i in zip(scores, ids, strict=True)]

    def _cut(self, vector: Embeddings | None) -> Embeddings | None:
        """Return a query's vector as it is compared with those of the index."""
        return None if vector is None else self.index.cut(vector[None])[0]

    def _vectors(self, found: Sequence[Document | Hit]) -> Embeddings:
        return self.index.vectors([str(one.id) for one in found])
