"""The reading half of LlamaIndex's vector store interface, over an index that carries its context.

Axes: W width.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode, ImageNode, IndexNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex, Document, Filter, Hit
from cde_retrievers.index.filters import compile_filter
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.query_modes import SearchRequest
from cde_retrievers.llama_index.ranking import ranked
from cde_retrievers.llama_index.vector_checks import SampleCheck
from cde_retrievers.llama_index.vector_documents import SOURCE_FIELD, TYPE_FIELD, from_index_document
from cde_retrievers.llama_index.vector_filters import to_index_filter
from cde_retrievers.retrieval.document import checked_ids
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Embeddings

_OBJECTS = {ImageNode.class_name(), IndexNode.class_name()}
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_k")
_MIN_PREFETCH, _PREFETCH_PER_HIT = 100, 4


class ContextualSearch(BasePydanticVectorStore):
    """The reading half of `ContextualVectorStore`.

    Asynchronous methods run in a thread; by default LlamaIndex runs them in the event loop.

    Args:
        embed_model: an embedding under the index's context.
        index: the index to search.
        verify: compare a sample of the vectors with those of `embed_model`.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index was built under another context.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    verify: bool = Field(default=True, description="Compare a sample of the vectors with those of embed_model.")

    _index: ContextualIndex = PrivateAttr()
    _embed_model: ContextBoundEmbedding = PrivateAttr()
    _sample: SampleCheck = PrivateAttr()
    # Held by changes, and by calls that read the index more than once.
    _lock: RLock = PrivateAttr(default_factory=RLock)

    def __init__(self, embed_model: ContextBoundEmbedding, index: ContextualIndex, verify: bool) -> None:
        super().__init__(stores_text=True)
        self.verify = verify
        self._embed_model = embed_model
        self._index = index
        self._sample = SampleCheck(embed_model)
        self._check_context()

    @property
    def client(self) -> ContextualIndex:
        """The index, for operations that LlamaIndex does not have, such as `refresh()` and `optimize()`."""
        return self._index

    @property
    def embed_model(self) -> ContextBoundEmbedding:
        """The embedding of queries and nodes."""
        return self._embed_model

    @property
    def context_fingerprint(self) -> str:
        """Fingerprint of the index's context."""
        return self._index.context.fingerprint

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the best nodes for a query with their scores, best first.

        Args:
            query: mode "default" by the cosine of the vectors; "hybrid" by vectors and words together; "sparse" or
                "text_search" by words alone, which finds only nodes that share a word with the query; "mmr" for nodes
                near to the query and different from each other. `filters` are those of `vector_filters`; `doc_ids`
                and `node_ids` restrict the search, unless they are empty. `similarity_top_k` nodes are returned, unless
                `hybrid_top_k` ("hybrid") or `sparse_top_k` ("sparse", "text_search") is given. Without `alpha`,
                "hybrid" is the index's own fusion. With it the score is alpha s + (1 - alpha) l / M, s the cosine, l
                the node's BM25 and M the best one: 1 is vectors alone, 0 words alone.
            kwargs: for "mmr", by `vector_store_kwargs` of `as_retriever`: `mmr_threshold`, the weight of the nearness
                from 0 to 1 (.5 by default), and `mmr_prefetch_k`, the number of nearest nodes to select from (four
                times `similarity_top_k` by default, and at least 100).

        Raises:
            ContextMismatchError: `embed_model` was refitted, or the query's vector is not the one of its text.
            ConfigurationError: another mode, no vector or one of another width, no text where words are searched, an
                index that was built without words, or an unknown option.
            FilterError: a filter is impossible, or names a field that no node has.
        """
        fingerprint = self._check_context()
        refuse_options(kwargs, known=_MMR_OPTIONS)
        request = SearchRequest.of(query, self._embed_model.embedder.width)
        if self.verify and query.query_str and request.vector is not None:
            self._sample.check_query(query.query_str, request.vector)
        hits = self._hits(query, request, fingerprint, kwargs)
        self._check_context()  # another thread may have refitted the index
        return VectorStoreQueryResult(
            nodes=[from_index_document(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Call `query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes without their vectors, restricted to these ids and filters if given; ignores unknown ids."""
        return [from_index_document(found) for found in self._select(node_ids, filters)]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Call `get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def _select(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[Document]:
        allowed = to_index_filter(filters)
        with self._lock:
            return list(self._index.documents(allowed)) if node_ids is None else self._among(node_ids, allowed)

    def _hits(
        self, query: VectorStoreQuery, request: SearchRequest, fingerprint: str, options: Mapping[str, Any]
    ) -> list[Hit]:
        is_diverse = query.mode == VectorStoreQueryMode.MMR
        # These read the index more than once, and no document may be deleted between.
        is_repeated = is_diverse or request.alpha is not None or query.node_ids is not None
        with self._lock if is_repeated else nullcontext():
            if is_diverse:
                return self._diverse(query, request, fingerprint, options)
            return self._best(query, request, fingerprint)

    def _of_source(self, ref_doc_ids: Sequence[str]) -> Filter | None:
        """Return a filter for the nodes of these documents, or None if no node names its document."""
        return {SOURCE_FIELD: {"$in": list(ref_doc_ids)}} if SOURCE_FIELD in self._index.fields else None

    def _among(self, node_ids: Iterable[str], allowed: Filter) -> list[Document]:
        """Return the documents with these ids that pass the filter, in the order of the ids."""
        known = self._index.get(list(dict.fromkeys(checked_ids(node_ids))))
        found = [document for document in known if document is not None]
        if not found:
            return []
        passes = compile_filter(allowed, self._index.fields)
        return [document for document in found if passes(document.metadata)]

    def _best(self, query: VectorStoreQuery, request: SearchRequest, fingerprint: str) -> list[Hit]:
        """Return the best nodes among those that the query allows."""
        allowed = to_index_filter(query.filters)
        node_ids = [] if query.node_ids is None else checked_ids(query.node_ids)
        doc_ids = [] if query.doc_ids is None else checked_ids(query.doc_ids)
        if doc_ids:
            sources = self._of_source(doc_ids)
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
            return self._index.search(request.text or "", request.k, allowed, mode="lexical")
        texts = None if request.text is None else [request.text]
        return self._index.search_embedded(request.vector[None], fingerprint, request.k, allowed, texts=texts)[0]

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
        return set(self._index.ids({TYPE_FIELD: {"$in": sorted(_OBJECTS)}})) <= set(node_ids)

    def _ranked(self, documents: Sequence[Document | Hit], request: SearchRequest) -> list[Hit]:
        return ranked(documents, self._vectors(documents), request, self._index.context)

    def _diverse(
        self, query: VectorStoreQuery, request: SearchRequest, fingerprint: str, options: Mapping[str, Any]
    ) -> list[Hit]:
        prefetched = options.get("mmr_prefetch_k", max(_MIN_PREFETCH, _PREFETCH_PER_HIT * request.k))
        check_whole("mmr_prefetch_k", prefetched, 1)
        threshold = options.get("mmr_threshold", query.mmr_threshold)
        if threshold is not None and not (isinstance(threshold, int | float | np.floating) and 0 <= threshold <= 1):
            raise ConfigurationError(f"mmr_threshold must be a number from 0 to 1, found {shown(threshold)}")
        hits = {hit.id: hit for hit in self._best(query, replace(request, k=prefetched), fingerprint)}
        vector: Any = np.asarray(request.vector, dtype=np.float64)
        scores, ids = get_top_k_mmr_embeddings(
            vector,
            list(self._vectors(list(hits.values())).astype(np.float64)),
            similarity_top_k=request.k,
            embedding_ids=list(hits),
            mmr_threshold=None if threshold is None else float(threshold),
        )
        return [replace(hits[i], score=float(score)) for score, i in zip(scores, ids, strict=True)]

    def _vectors(self, found: Sequence[Document | Hit]) -> Embeddings:
        return self._index.vectors([str(one.id) for one in found])

    def _check_context(self) -> str:
        """Return the fingerprint that index and embedding share, or raise ContextMismatchError."""
        yours = self._embed_model.context.fingerprint
        ContextCheck(theirs=self._index.context.fingerprint, yours=yours).raise_if_different()
        return yours


def refuse_options(options: Mapping[str, Any], known: Sequence[str] = ()) -> None:
    """Raise ConfigurationError if there are unknown options: a misspelt one would have no effect."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigurationError(
            f"option {unknown[0]!r} is unknown to ContextualVectorStore; "
            + (f"use {known}" if known else "leave it out")
        )
