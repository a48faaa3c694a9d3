"""Embeddings that have no context yet, and nodes."""

import pytest
from llama_index.core.schema import TextNode
from tiny import CORPUS

from cde_retrievers.llama_index import ContextualEmbedding


@pytest.fixture
def make_embedding(model_folder):
    def make(**settings) -> ContextualEmbedding:
        return ContextualEmbedding(str(model_folder), device="cpu", dtype="float32", **settings)

    return make


@pytest.fixture
def make_nodes():
    def make(texts=CORPUS) -> list[TextNode]:
        return [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(texts)]

    return make
