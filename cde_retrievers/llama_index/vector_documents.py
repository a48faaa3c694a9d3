"""LlamaIndex's nodes as documents of an index, and back without loss."""

from collections.abc import Iterable, Mapping

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
from cde_retrievers.errors import ContextMismatchError, InvalidDocumentError, shown
from cde_retrievers.index import Document as IndexDocument
from cde_retrievers.index import Hit
from cde_retrievers.retrieval.document import checked_document
from cde_retrievers.validation.signatures import is_iterable

SOURCE_FIELD = "ref_doc_id"
TYPE_FIELD = "_node_type"
CONTENT_FIELD = "_node_content"
_SOURCE_FIELDS = ("document_id", "doc_id", SOURCE_FIELD)
_TYPES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, IndexNode, ImageNode, Node, Document, ImageDocument)
}


def embedded_text(node: BaseNode) -> str:
    """Return the text of a node that LlamaIndex embeds, including the metadata that are not excluded."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def to_index_documents(nodes: Iterable[BaseNode], fingerprint: str) -> list[IndexDocument]:
    """Return documents of an index for nodes.

    The text is the one that is embedded, so that embedding the index again makes the same vectors. The node's metadata
    stay separate fields, to filter by; one more field has the whole node. numpy's numbers and times in the metadata are
    kept as in an index's `Document`.

    Args:
        nodes: nodes of LlamaIndex's own classes.
        fingerprint: fingerprint of the context under which their vectors were made.

    Raises:
        ContextMismatchError: a node is stamped with another context.
        InvalidDocumentError: a node is of another class, or its metadata cannot be stored.
    """
    return [_to_index_document(node, fingerprint) for node in nodes]


def _to_index_document(node: BaseNode, fingerprint: str) -> IndexDocument:
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
        own = dict(checked_document(IndexDocument("", metadata=own), 0).metadata)
        written = node_to_metadata_dict(node.model_copy(update={"metadata": {**node.metadata, **own}}))
    except (InvalidDocumentError, PydanticSerializationError) as error:
        raise InvalidDocumentError(f"node {node.node_id} cannot be stored: {error}; use JSON values") from error
    # For a node without a source LlamaIndex writes the text "None", which could be taken for a document's id.
    kept = (CONTENT_FIELD, TYPE_FIELD, *(_SOURCE_FIELDS if node.ref_doc_id is not None else ()))
    metadata = {**own, **{field: written[field] for field in kept}}
    return IndexDocument(embedded_text(node), node.node_id, metadata)


def checked_nodes(nodes: object) -> list[BaseNode]:
    """Return the nodes as a list, or raise InvalidDocumentError if `nodes` is not a collection of nodes."""
    if isinstance(nodes, str | Mapping) or not is_iterable(nodes):
        raise InvalidDocumentError(
            f"a collection of nodes is expected, found {shown(nodes)}; put a single one in a list"
        )
    known = list(nodes)
    for found in known:
        if not isinstance(found, BaseNode):
            raise InvalidDocumentError(f"a node is expected, found {shown(found)}; give nodes of LlamaIndex")
    return known


def from_index_document(found: IndexDocument | Hit) -> BaseNode:
    """Return the node of a document; if another program added it, a node with its text and metadata."""
    kind = _TYPES.get(found.metadata.get(TYPE_FIELD, ""))
    if kind is not None:
        return kind.from_json(found.metadata[CONTENT_FIELD])
    metadata = dict(found.metadata)
    return TextNode(text=found.text, id_=str(found.id), metadata=metadata, excluded_embed_metadata_keys=list(metadata))
