"""A node comes out of a vector store as it went in."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from cde_retrievers.errors import ConfigurationError, DuplicateIdError, InvalidDocumentError, InvalidTextError
from cde_retrievers.llama_index import ContextualVectorStore

COMMON = {
    "id_": "node",
    "metadata": {"title": "Ünï", "page": 3, "share": 0.1, "draft": None, "tags": ["a", "b"], "more": {"deep": [1]}},
    "excluded_embed_metadata_keys": ["page"],
    "excluded_llm_metadata_keys": ["title"],
    "metadata_template": "{key} = {value}",
    "metadata_separator": " | ",
    "text_template": "<{metadata_str}>\n{content}",
    "relationships": {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", hash="h", metadata={"title": "x"}),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
        NodeRelationship.CHILD: [RelatedNodeInfo(node_id="one"), RelatedNodeInfo(node_id="two")],
    },
}
NODES = [
    TextNode(text="red cat", start_char_idx=3, end_char_idx=10, mimetype="text/markdown", **COMMON),
    TextNode(text="", **COMMON),
    TextNode(text="  spaces \n and \t lines\n", id_="bare"),
    IndexNode(text="red cat", index_id="table", **COMMON),
    IndexNode(text="red cat", index_id="table", obj=TextNode(text="inside", id_="inner"), id_="with object"),
    ImageNode(text="a cat", image_url="https://example.org/cat.png", **COMMON),
    Node(text_resource=MediaResource(text="red cat", mimetype="text/html"), **COMMON),
    Document(text="red cat", **COMMON),
    Document(text="", id_="empty"),
    ImageDocument(text="a cat", image="aGVsbG8=", id_="image"),
]


@pytest.fixture
def store(fitted):
    return ContextualVectorStore(fitted)


@pytest.mark.parametrize("node", NODES, ids=lambda node: f"{type(node).__name__} {node.node_id}")
def test_a_node_comes_out_as_it_went_in(store, fitted, node):
    store.add(fitted([node]))
    given = store.get_nodes([node.node_id])[0]
    assert type(given) is type(node)
    assert given.to_dict() == {**node.to_dict(), "embedding": None}
    assert given.get_content(MetadataMode.ALL) == node.get_content(MetadataMode.ALL)


def test_the_index_keeps_the_text_that_was_embedded(store, fitted):
    node = NODES[0]
    store.add(fitted([node]))
    document = store.client.get(["node"])[0]
    assert document.text == node.get_content(MetadataMode.EMBED) != node.text
    vector = fitted.get_text_embedding(document.text)
    np.testing.assert_allclose(store.client.vectors(["node"])[0], vector, atol=1e-6)


def test_metadata_are_fields_and_the_source_is_named(store, fitted):
    store.add(fitted([NODES[0].model_copy(), NODES[2].model_copy()]))
    document, bare = store.client.get(["node", "bare"])
    assert {name: document.metadata[name] for name in NODES[0].metadata} == NODES[0].metadata
    assert document.metadata["ref_doc_id"] == "doc"
    assert "ref_doc_id" not in bare.metadata


def test_metadata_called_like_the_source_are_not_taken_for_it(store, fitted):
    store.add(fitted([TextNode(text="red cat", id_="x", metadata={"ref_doc_id": "doc", "doc_id": "mine"})]))
    store.delete("doc")
    assert store.get_nodes(["x"])[0].metadata == {"ref_doc_id": "doc", "doc_id": "mine"}
    assert store.client.get(["x"])[0].metadata["doc_id"] == "mine"


class Annotated(TextNode):
    note: str = "lost if read as a TextNode"


class Opaque:
    pass


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        (Annotated(text="red cat", id_="x"), InvalidDocumentError, r"node x is a Annotated.*use one of TextNode"),
        (TextNode(text="red", id_="x", metadata={"o": Opaque()}), InvalidDocumentError, "node x cannot be stored"),
        (TextNode(text="red", metadata={"share": math.nan}), InvalidDocumentError, "which JSON cannot hold"),
        (
            TextNode(text="red", metadata={"on": timedelta(1)}),
            InvalidDocumentError,
            r"\['on'\] is a timedelta, which JSON",
        ),
        (TextNode(text="red \ud800 cat"), InvalidTextError, "lone surrogate"),
        (TextNode(text="red", id_=""), InvalidDocumentError, "must be a non-empty string"),
    ],
)
def test_what_could_not_be_given_back_is_refused(fitted, node, error, message):
    store = ContextualVectorStore(fitted, verify=False)
    node.embedding = fitted.get_text_embedding("red cat")
    with pytest.raises(error, match=message):
        store.add([TextNode(text="fine", embedding=node.embedding), node])
    assert len(store.client) == 0


def test_numbers_of_numpy_and_times_come_back_as_json_has_them_and_are_filtered_by(fitted):
    store = ContextualVectorStore(fitted)
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    node = TextNode(text="red cat", metadata={"at": at, "row": np.int64(3), "even": np.bool_(False)})
    node.excluded_embed_metadata_keys = list(node.metadata)
    store.add(fitted([node]))
    (found,) = store.get_nodes()
    assert found.metadata == {"at": "2024-05-01T12:00:00+00:00", "row": 3, "even": False}
    assert node.metadata["at"] is at
    assert store.client.ids({"at": at, "row": np.int64(3), "even": np.bool_(False)}) == [node.node_id]


def test_vectors_must_be_there_and_of_the_index_width(store):
    with pytest.raises(ConfigurationError, match="the vector of node x must have 32 numbers, found 0"):
        store.add([TextNode(text="red cat", id_="x")])
    with pytest.raises(ConfigurationError, match="the vector of node x must have 32 numbers, found 5"):
        store.add([TextNode(text="red cat", id_="x", embedding=[1.0] * 5)])
    with pytest.raises(ConfigurationError, match="vector 0 holds NaN"):
        store.add([TextNode(text="red cat", id_="x", embedding=[float("nan")] * 32)])


def test_an_id_cannot_come_twice_in_one_call(store, fitted):
    with pytest.raises(DuplicateIdError, match="'x'"):
        store.add(fitted([TextNode(text="red", id_="x"), TextNode(text="cat", id_="x")]))
