"""LlamaIndex's nodes as documents of an index, and back without a loss.

Axes: n nodes, W width.
"""

from collections.abc import Mapping, Sequence, Sized

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    TextNode,
)
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from pydantic_core import PydanticSerializationError

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, InvalidDocumentError, shown
from cde_retrievers.index import Document as IndexDocument
from cde_retrievers.index import Hit
from cde_retrievers.retrieval.document import checked_document
from cde_retrievers.validation.signatures import is_iterable
from cde_retrievers.validation.vectors import Embeddings, checked_vectors, unit_rows

SOURCE_FIELD = "ref_doc_id"
TYPE_FIELD = "_node_type"
_CONTENT_FIELD = "_node_content"
_SOURCE_FIELDS = ("document_id", "doc_id", SOURCE_FIELD)
_TYPES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, IndexNode, ImageNode, Node, Document, ImageDocument)
}


def embedded_text(node: BaseNode) -> str:
    """The text of a node as LlamaIndex embeds it: with the metadata that are not excluded."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def to_document(node: BaseNode, fingerprint: str) -> IndexDocument:
    """The document that an index keeps of a node.

    Its text is the text that is embedded, so that embedding the index again makes the same vectors. The node's
    metadata stay fields of their own, to be filtered by; the whole node is in one more.

    Args:
        node: of one of LlamaIndex's own kinds.
        fingerprint: of the context that its vector was made under.

    Raises:
        ContextMismatchError: the node is stamped with another context.
        InvalidDocumentError: it is of another kind, or its metadata cannot be stored.
    """
    if _TYPES.get(node.class_name()) is not type(node):
        raise InvalidDocumentError(
            f"node {node.node_id} is a {type(node).__name__}, which could not be restored unchanged; use one of "
            f"{', '.join(_TYPES)}"
        )
    stamp = node.metadata.get(CONTEXT_KEY, fingerprint)
    if stamp != fingerprint:
        raise ContextMismatchError(
            f"node {node.node_id} is stamped with context {stamp}, but the index is under {fingerprint}; set its "
            f"embedding to None and stamp it with the index's context to have it embedded again"
        )
    own = {field: value for field, value in node.metadata.items() if field != SOURCE_FIELD}
    try:
        checked_document(IndexDocument("", metadata=own), 0)
        written = node_to_metadata_dict(node)
    except (InvalidDocumentError, PydanticSerializationError) as error:
        raise InvalidDocumentError(f"node {node.node_id} cannot be stored: {error}; use JSON values") from error
    # For a node without a source LlamaIndex writes the text "None", which could be taken for a document's id. And it
    # makes the metadata fit for JSON, times to texts for example, where the index refuses what it would not give back.
    kept = (_CONTENT_FIELD, TYPE_FIELD, *(_SOURCE_FIELDS if node.ref_doc_id is not None else ()))
    metadata = {**own, **{field: written[field] for field in kept}}
    return IndexDocument(embedded_text(node), node.node_id, metadata)


def checked_nodes(nodes: object) -> list[BaseNode]:
    """What was given as nodes.

    Raises:
        InvalidDocumentError: it is not a collection, or not one of nodes.
    """
    if isinstance(nodes, str | Mapping) or not is_iterable(nodes):
        raise InvalidDocumentError(
            f"a collection of nodes is expected, found {shown(nodes)}; put a single one in a list"
        )
    known = list(nodes)
    for found in known:
        if not isinstance(found, BaseNode):
            raise InvalidDocumentError(f"a node is expected, found {shown(found)}; give nodes of LlamaIndex")
    return known


def to_node(found: IndexDocument | Hit) -> BaseNode:
    """The node of a document; of one that another program put into the index, a node with its text and metadata."""
    kind = _TYPES.get(found.metadata.get(TYPE_FIELD, ""))
    if kind is not None:
        return kind.from_json(found.metadata[_CONTENT_FIELD])
    metadata = dict(found.metadata)
    return TextNode(text=found.text, id_=str(found.id), metadata=metadata, excluded_embed_metadata_keys=list(metadata))


def vectors_of(nodes: Sequence[BaseNode], width: int) -> Embeddings:
    """The vectors (n, W) that the nodes carry, as unit rows.

    Raises:
        ConfigurationError: a node has none, one of another width, or one that holds what is not a finite number.
    """
    for node in nodes:
        found = length_of(node.embedding)
        if found != width:
            raise ConfigurationError(
                f"the vector of node {node.node_id} must have {width} numbers, found {found}; embed the nodes with the "
                f"store's embed_model, by VectorStoreIndex(nodes, embed_model=...) for example"
            )
    given = [node.get_embedding() for node in nodes]
    return unit_rows(checked_vectors(given, len(given), width, ConfigurationError))


def length_of(vector: object) -> int:
    """How many numbers a vector has; 0 for what is none."""
    return len(vector) if is_iterable(vector) and isinstance(vector, Sized) else 0


_SAME = 0.99
"""Cosine from which two vectors of a text are the same but for the number format and the batch they were made in."""


def check_vector(found: Embeddings, expected: Embeddings, whose: str, fingerprint: str) -> None:
    """Refuse a vector that was made by another model, under another context or of another text.

    Args:
        found: (W,) unit vector that arrived.
        expected: (W,) unit vector of the text.
        whose: of what it should be the vector, for the message.
        fingerprint: of the context that it should be made under.

    Raises:
        ContextMismatchError: the two differ.
    """
    cosine = float(np.dot(found, expected))
    if not cosine >= _SAME:  # also where it is NaN
        raise ContextMismatchError(
            f"the vector of {whose} is not the one that its text has under context {fingerprint} (cosine "
            f"{cosine:.3f}), so it was made by another model or under another context. Give the index the store's own "
            f"embedding (embed_model=store.embed_model), and set node.embedding = None where nodes have vectors from "
            f"before. If vectors are meant to differ from those of the texts, as with HyDE, make the store with "
            f"verify=False"
        )
