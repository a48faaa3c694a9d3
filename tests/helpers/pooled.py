"""What runs in the workers of a process pool: bases that change with a file, and one query."""

from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding
from services import PaidService


def vector_of_query(embedding: Any) -> list[float]:
    """What an embedding of either framework makes of a query."""
    embed = getattr(embedding, "embed_query", None) or embedding.get_query_embedding
    vector: list[float] = embed("red cat")
    return vector


class ServedEmbeddings(Embeddings):
    """LangChain's, of the model that `file` names at the time."""

    model_name = "served"

    def __init__(self, file: Path) -> None:
        self.file = file

    def embed_documents(self, texts):
        return PaidService(model=self.file.read_text()).embed_documents(texts)

    def embed_query(self, text):
        return PaidService(model=self.file.read_text()).embed_query(text)


class ServedEmbedding(BaseEmbedding):
    """LlamaIndex's, of the model that `file` names at the time."""

    model_name: str = "served"
    file: Path

    def _get_text_embedding(self, text):
        return PaidService(model=self.file.read_text()).embed_documents([text])[0]

    def _get_query_embedding(self, query):
        return PaidService(model=self.file.read_text()).embed_query(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)
