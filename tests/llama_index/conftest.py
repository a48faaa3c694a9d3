"""Embeddings with and without a context, and nodes with and without vectors."""

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from tiny import CORPUS

from cde_retrievers import ContextualEncoder
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


def make_node(row: int, text: str) -> TextNode:
    return TextNode(
        text=text,
        id_=f"n{row}",
        metadata={"animal": text.split()[1], "row": row, "tags": text.split()[:3]},
        excluded_embed_metadata_keys=["row", "tags"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{row // 9}")},
    )


@pytest.fixture(scope="session")
def loaded(model_folder):
    return ContextualEncoder.from_pretrained(model_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def session_embedding(loaded):
    """Not for tests that refit."""
    return ContextualEmbedding(encoder=loaded).fit([make_node(row, text) for row, text in enumerate(CORPUS)])


@pytest.fixture(scope="session")
def session_nodes(session_embedding):
    return session_embedding([make_node(row, text) for row, text in enumerate(CORPUS)])


@pytest.fixture
def nodes(session_nodes):
    """Of six documents, nine nodes each, with their vectors."""
    return [node.model_copy(deep=True) for node in session_nodes]


@pytest.fixture
def fitted(session_embedding):
    return session_embedding.with_context(session_embedding.context)


@pytest.fixture(scope="session")
def another(loaded):
    """The same model under another context."""
    return ContextualEmbedding(encoder=loaded).fit(CORPUS[:9])
