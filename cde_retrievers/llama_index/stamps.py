"""The context stamped on nodes, and filters for that stamp."""

from collections.abc import Iterable, Sequence

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ContextMismatchError, InvalidTextError


def stamped(nodes: Iterable[BaseNode], embed_model: ContextBoundMixin, *, reembed: bool = False) -> list[BaseNode]:
    """Return copies of the nodes with the context's fingerprint in their metadata under `CONTEXT_KEY`.

    With `side="query"` the metadata state plain vectors of the model in its place, and no context.

    The text that is embedded stays the same. LlamaIndex does not embed a node that already has a vector, so such a
    node is refused unless it is stamped with this context.

    Args:
        nodes: the nodes to embed.
        embed_model: the embedding that will embed them.
        reembed: drop vectors of another or an unknown context, so that these nodes are embedded again.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: a node has a vector of another or an unknown context, and `reembed` is False.
        InvalidTextError: an item is not a node.
    """
    stamp = embed_model.stamp
    return [_with_stamp(_checked(node, position), stamp, reembed) for position, node in enumerate(nodes)]


def _checked(node: object, position: int) -> BaseNode:
    if not isinstance(node, BaseNode):
        raise InvalidTextError(
            f"item {position} must be a node, found {type(node).__name__}; put texts into nodes: TextNode(text=...)"
        )
    return node


def _with_stamp(node: BaseNode, stamp: str, reembed: bool) -> BaseNode:
    theirs = node.metadata.get(CONTEXT_KEY)
    stale = node.embedding is not None and theirs != stamp
    if stale and not reembed:
        raise ContextMismatchError(
            f"node {node.node_id} already has a vector, made under {theirs or 'a context that it does not name'}, and "
            f"LlamaIndex would use it unchanged; yours is {stamp}. Pass reembed=True to drop such vectors, so "
            f"that the nodes are embedded again"
        )
    changes = {
        "metadata": {**node.metadata, CONTEXT_KEY: stamp},
        "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
    }
    return node.model_copy(update={**changes, "embedding": None} if stale else changes)


def _with_key(keys: Sequence[str]) -> list[str]:
    return [*keys, *([] if CONTEXT_KEY in keys else [CONTEXT_KEY])]


def refuse_other_stamps(nodes: Iterable[BaseNode], embed_model: ContextBoundMixin) -> None:
    """Raise ContextMismatchError if a node is stamped with another context than the embedding's."""
    for node in nodes:
        theirs = node.metadata.get(CONTEXT_KEY)
        if theirs is not None and theirs != embed_model.stamp:
            raise ContextMismatchError(
                f"node {node.node_id} is stamped with context {theirs}, but would be embedded under "
                f"{embed_model.stamp}; stamp it again with stamped(nodes, embed_model) or a "
                f"ContextFitter before it is embedded"
            )


def context_filter(embed_model: ContextBoundMixin, also: MetadataFilters | None = None) -> MetadataFilters:
    """Return filters for nodes that are `stamped` with the embedding's context; a search finds only these.

    Args:
        embed_model: the embedding of the queries; the filters are made for its present context.
        also: other filters that nodes must pass too. Conditions other than AND are nested, which `SimpleVectorStore`
            refuses.

    Raises:
        ContextNotFittedError: the embedding has no context.
    """
    own = MetadataFilter(key=CONTEXT_KEY, value=embed_model.stamp)
    if also is None or not also.filters:
        return MetadataFilters(filters=[own])
    if also.condition in (None, FilterCondition.AND):
        return MetadataFilters(filters=[own, *also.filters])
    return MetadataFilters(filters=[own, also])
