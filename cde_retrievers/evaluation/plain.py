"""Anybody's embedding as a searcher, without a context. Axes: n texts, W width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.hits import Hits
from cde_retrievers.retrieval_set import RetrievalSet
from cde_retrievers.unit_rows import unit_rows
from cde_retrievers.vectors import checked_vectors

Embed = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Plain:
    """Exact search by cosine of what an embedding gives.

    Attributes:
        embedding: of sentence-transformers (`encode`), LangChain (`embed_documents`, `embed_query`) or LlamaIndex
            (`get_text_embedding_batch`, `get_query_embedding`).
        name: what it is called in tables.
    """

    embedding: object
    name: str = "plain embedding"

    def __post_init__(self) -> None:
        _calls(self.embedding)

    def search(self, data: RetrievalSet, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`; raises EmbeddingServiceError where an answer is not one vector for each text."""
        of_documents, of_queries = _calls(self.embedding)
        asked = list(data.judged.queries.values())
        documents = checked_vectors(of_documents(list(data.texts)), len(data.texts), None)
        queries = checked_vectors(of_queries(asked), len(asked), documents.shape[1])
        return Hits.of_vectors(unit_rows(documents), unit_rows(queries), depth)


def _calls(embedding: Any) -> tuple[Embed, Embed]:
    """How documents and queries are embedded.

    Raises:
        ConfigurationError: nobody knows.
    """
    if hasattr(embedding, "embed_documents") and hasattr(embedding, "embed_query"):
        return embedding.embed_documents, lambda texts: [embedding.embed_query(text) for text in texts]
    if hasattr(embedding, "get_text_embedding_batch") and hasattr(embedding, "get_query_embedding"):
        return embedding.get_text_embedding_batch, lambda texts: [embedding.get_query_embedding(t) for t in texts]
    if hasattr(embedding, "encode_document") and hasattr(embedding, "encode_query"):
        return embedding.encode_document, embedding.encode_query
    if hasattr(embedding, "encode"):
        return embedding.encode, embedding.encode
    raise ConfigurationError(
        f"{type(embedding).__name__} is no embedding that is known; give one of LangChain, LlamaIndex or "
        f"sentence-transformers, or a class with a `name` and a `search` as `Searcher` describes"
    )
