"""LangChain's sparse embeddings under a context, for the hybrid search of a Qdrant store."""

from langchain_qdrant import SparseEmbeddings, SparseVector
from scipy.sparse import csr_matrix

from cde_retrievers.binding.sparse import SparseBinding


class ContextualSparseEmbeddings(SparseEmbeddings):
    """BM25 under the context of embeddings, as sparse vectors.

    Example:
        ```python
        embeddings = ContextualEmbeddings(model="minilm").fit(documents)
        store = QdrantVectorStore.from_documents(
            documents,
            embeddings,
            sparse_embedding=ContextualSparseEmbeddings(embeddings),
            retrieval_mode=RetrievalMode.HYBRID,
            location=":memory:",
        )
        ```

    Args:
        embeddings: embeddings of the same store, with a fitted context.

    Raises:
        ConfigurationError: they are not bound to a context.
        ContextNotFittedError: they have no context yet.
        ContextMismatchError: their context carries no term statistics; on use, that they have been refitted since.
    """

    def __init__(self, embeddings: object) -> None:
        self._binding = SparseBinding(embeddings)

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Return the sparse vector of each document."""
        return _vectors(self._binding.documents(texts))

    def embed_query(self, text: str) -> SparseVector:
        """Return the sparse vector of a query."""
        return _vectors(self._binding.queries([text]))[0]


def _vectors(rows: csr_matrix) -> list[SparseVector]:
    parts = ((rows.indices[a:b], rows.data[a:b]) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True))
    return [SparseVector(indices=terms.tolist(), values=values.tolist()) for terms, values in parts]
