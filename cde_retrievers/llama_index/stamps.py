"""Nodes that say under which context they are embedded, and what is made of that: filters and namespaces."""

from collections.abc import Iterable, Sequence

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.keyval_docstore import DEFAULT_NAMESPACE
from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ContextMismatchError, InvalidTextError


def stamped(nodes: Iterable[BaseNode], embed_model: ContextBoundMixin, *, reembed: bool = False) -> list[BaseNode]:
    """Copies of the nodes whose metadata carry the context's fingerprint; what is embedded of them stays the same.

    LlamaIndex does not embed a node that has a vector already, under whichever context that was made. Such a node is
    refused unless its stamp says that it was this one.

    Args:
        nodes: about to be embedded; they are left as they are.
        embed_model: is going to embed them.
        reembed: drop vectors of another or an unknown context, so that these nodes are embedded again.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: a node has a vector of another or an unknown context, and `reembed` is False.
        InvalidTextError: an item is not a node.
    """
    fingerprint = embed_model.context.fingerprint
    return [_stamped(_checked(node, position), fingerprint, reembed) for position, node in enumerate(nodes)]


def _checked(node: object, position: int) -> BaseNode:
    if not isinstance(node, BaseNode):
        raise InvalidTextError(
            f"item {position} must be a node, found {type(node).__name__}; put texts into nodes: TextNode(text=...)"
        )
    return node


def _stamped(node: BaseNode, fingerprint: str, reembed: bool) -> BaseNode:
    theirs = node.metadata.get(CONTEXT_KEY)
    stale = node.embedding is not None and theirs != fingerprint
    if stale and not reembed:
        raise ContextMismatchError(
            f"node {node.node_id} already has a vector, made under {theirs or 'a context that it does not name'}, and "
            f"LlamaIndex would use it as it is; yours is {fingerprint}. Pass reembed=True to drop such vectors, so "
            f"that the nodes are embedded again"
        )
    changes = {
        "metadata": {**node.metadata, CONTEXT_KEY: fingerprint},
        "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
    }
    return node.model_copy(update={**changes, "embedding": None} if stale else changes)


def _with_key(keys: Sequence[str]) -> list[str]:
    return [*keys, *([] if CONTEXT_KEY in keys else [CONTEXT_KEY])]


def refuse_other_stamps(nodes: Iterable[BaseNode], embed_model: ContextBoundMixin) -> None:
    """Embed stamped nodes under the context that they name, or not at all.

    Raises:
        ContextMismatchError: a node is stamped with another context.
    """
    for node in nodes:
        theirs = node.metadata.get(CONTEXT_KEY)
        if theirs is not None and theirs != embed_model.context.fingerprint:
            raise ContextMismatchError(
                f"node {node.node_id} is stamped with context {theirs}, but would be embedded under "
                f"{embed_model.context.fingerprint}; stamp it again with stamped(nodes, embed_model) or a "
                f"ContextFitter before it is embedded"
            )


def context_filters(embed_model: ContextBoundMixin, filters: MetadataFilters | None = None) -> MetadataFilters:
    """Filters that let through only nodes stamped with the embedding's context: no hits instead of wrong ones.

    Args:
        embed_model: embeds the queries.
        filters: to be met as well. Other conditions than AND are nested, which `SimpleVectorStore` refuses.

    Raises:
        ContextNotFittedError: the embedding has no context.
    """
    own = MetadataFilter(key=CONTEXT_KEY, value=embed_model.context.fingerprint)
    if filters is None or not filters.filters:
        return MetadataFilters(filters=[own])
    if filters.condition in (None, FilterCondition.AND):
        return MetadataFilters(filters=[own, *filters.filters])
    return MetadataFilters(filters=[own, filters])


def docstore_namespace(embed_model: ContextBoundMixin) -> str:
    """A document store's namespace per context, for an `IngestionPipeline` that skips what it has seen before.

    Under another context nothing has been seen, so every document is embedded again:
    `SimpleDocumentStore(namespace=docstore_namespace(embed_model))`, and the same with `from_persist_path`.

    Raises:
        ContextNotFittedError: the embedding has no context.
    """
    return f"{DEFAULT_NAMESPACE}/{embed_model.context.fingerprint}"
