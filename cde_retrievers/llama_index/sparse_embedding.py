"""LlamaIndex's sparse embedding under a context."""

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from scipy.sparse import csr_matrix

from cde_retrievers.binding.sparse import SparseBinding

_Batch = tuple[list[list[int]], list[list[float]]]


class ContextualSparseEmbedding(BaseSparseEmbedding):
    """BM25 under the context of an embedding, as sparse vectors.

    A Qdrant store takes its methods: `QdrantVectorStore(enable_hybrid=True, sparse_doc_fn=sparse.encode_documents,
    sparse_query_fn=sparse.encode_queries)`.

    Args:
        embed_model: the embedding of the same index, with a fitted context.

    Raises:
        ConfigurationError: it is not bound to a context.
        ContextNotFittedError: it has no context yet.
        ContextMismatchError: its context carries no term statistics; on use, that it has been refitted since.
    """

    _binding: SparseBinding = PrivateAttr()

    def __init__(self, embed_model: object, **fields: Any) -> None:
        binding = SparseBinding(embed_model)
        super().__init__(model_name=f"BM25 under {binding.fingerprint[:12]}", **fields)
        self._binding = binding

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return cls.__name__

    def encode_documents(self, texts: list[str]) -> _Batch:
        """Return terms and values of each document, as a Qdrant store asks for them."""
        return _batch(self._binding.documents(texts))

    def encode_queries(self, texts: list[str]) -> _Batch:
        """Return terms and values of each query, as a Qdrant store asks for them."""
        return _batch(self._binding.queries(texts))

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return _mappings(self.encode_documents(texts))

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        return _mappings(self.encode_queries([query]))[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_query_embedding, query)


def _batch(rows: csr_matrix) -> _Batch:
    bounds = list(zip(rows.indptr[:-1], rows.indptr[1:], strict=True))
    return [rows.indices[a:b].tolist() for a, b in bounds], [rows.data[a:b].tolist() for a, b in bounds]


def _mappings(batch: _Batch) -> list[SparseEmbedding]:
    return [dict(zip(terms, values, strict=True)) for terms, values in zip(*batch, strict=True)]
