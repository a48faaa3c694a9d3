"""LangChain's sparse embeddings under a context, for the hybrid search of a Milvus store."""

from langchain_milvus.utils.sparse import BaseSparseEmbedding
from scipy.sparse import csr_matrix

from cde_retrievers.binding.sparse import SparseBinding


class ContextualMilvusSparseEmbeddings(BaseSparseEmbedding):
    """BM25 under the context of embeddings, as the sparse vectors of langchain-milvus.

    Example:
        ```python
        embeddings = ContextualEmbeddings(model="minilm").fit(documents)
        store = Milvus.from_documents(
            documents,
            [embeddings, ContextualMilvusSparseEmbeddings(embeddings)],
            vector_field=["dense", "sparse"],
            index_params=[
                {"index_type": "AUTOINDEX", "metric_type": "COSINE"},
                {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"},
            ],
            connection_args={"uri": "http://127.0.0.1:19530"},
        )
        ```

    Arguments and errors as `ContextualSparseEmbeddings`, its counterpart for Qdrant.
    """

    def __init__(self, embeddings: object) -> None:
        self._binding = SparseBinding(embeddings)

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Return the sparse vector of each document: the weight of each term."""
        return _weights(self._binding.documents(texts))

    def embed_query(self, query: str) -> dict[int, float]:
        """Return the sparse vector of a query."""
        return _weights(self._binding.queries([query]))[0]


def _weights(rows: csr_matrix) -> list[dict[int, float]]:
    parts = ((rows.indices[a:b], rows.data[a:b]) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True))
    return [dict(zip(terms.tolist(), values.tolist(), strict=True)) for terms, values in parts]
