"""The contexts that LlamaIndex's vector stores and persisted indexes state, by the stamps of their nodes.

Any store works that returns nodes from a query. To support one that states its context in another way, extend
`known_stamps`.
"""

import logging
import re
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.index.inspection import context_of_index, holds_index
from cde_retrievers.llama_index.storage_dir import context_in, vectors_in

Stamps = Set[str | None]
"""All fingerprints found; None stands for nodes without one."""

logger = logging.getLogger(__name__)
_SAMPLE = 100  # nodes read from a store
_SAYS_NOTHING_THERE = re.compile(
    # A page or a host that is not found is another matter.
    r"(collection|table|index)\b.{0,200}(not found|not initialized|does(n.{0,2}t| not) exist)|not found: collection"
    r"|results are empty",
    re.IGNORECASE | re.DOTALL,
)

_SAYS_A_WIDTH = re.compile(r"\bdim|shapes", re.IGNORECASE)


def vector_store_of(index: object) -> BasePydanticVectorStore:
    """Return a vector store itself, or that of an index or a storage context; raises ConfigurationError for others."""
    store = index if isinstance(index, BasePydanticVectorStore) else getattr(index, "vector_store", None)
    if not isinstance(store, BasePydanticVectorStore):
        raise ConfigurationError(
            f"index must be an index, a storage context, a vector store or the directory of a persisted index, found "
            f"{type(index).__name__}"
        )
    return store


def known_stamps(store: object) -> Stamps:
    """Return the stamps that a store states without a query; none if it is empty or needs one."""
    own = getattr(store, "context_fingerprint", None)
    if own is not None:
        return {own}
    if not isinstance(store, SimpleVectorStore):
        return set()
    return {(store.data.metadata_dict.get(node_id) or {}).get(CONTEXT_KEY) for node_id in store.data.embedding_dict}


def stamps_of(store: BasePydanticVectorStore, embedder: Embedder, expected: str | None = None) -> Stamps:
    """Return the stamps that a store states, or those of the nodes that a query finds; none if it is empty.

    Args:
        store: the store.
        embedder: the embedder of its nodes; its width is read for a query only, since that may load a model or cost a
            call.
        expected: a stamp; if given, the store is also asked for nodes of any other one, if it can filter so.
    """
    known = known_stamps(store)
    if known or isinstance(store, SimpleVectorStore):  # whose answers to a query have no nodes
        return known
    query = _any_nodes(embedder, _SAMPLE)
    found = _stamps_found(store, query, embedder)
    if expected is None or found != {expected}:
        return found
    foreign = MetadataFilter(key=CONTEXT_KEY, value=expected, operator=FilterOperator.NE)
    try:
        return found | _stamps_found(store, replace(query, filters=MetadataFilters(filters=[foreign])), embedder)
    except Exception as error:  # a store of any maker, which may not filter so
        logger.info("%s cannot be asked for nodes of another context: %s", type(store).__name__, error)
        return found | _stamps_found(store, query, embedder)  # raises if it was lost in between


def _any_nodes(embedder: Embedder, count: int) -> VectorStoreQuery:
    direction = [1.0] + [0.0] * (embedder.width - 1)
    return VectorStoreQuery(query_embedding=direction, similarity_top_k=count)


def _stamps_found(store: BasePydanticVectorStore, query: VectorStoreQuery, embedder: Embedder) -> Stamps:
    """Return the stamps of the nodes that a query finds; none for a collection that does not exist yet."""
    try:
        found = store.query(query)
    except Exception as error:
        if says_nothing_is_there(error):
            return set()
        refuse_another_width(error, store, embedder)
        raise
    return {node.metadata.get(CONTEXT_KEY) for node in found.nodes or ()}


def says_nothing_is_there(error: Exception) -> bool:
    """Return whether a store's error means that nothing was found; no two stores raise the same for that."""
    return _SAYS_NOTHING_THERE.search(str(error)) is not None


def refuse_another_width(error: Exception, store: object, embedder: Embedder) -> None:
    """Raise ContextMismatchError if a store's error says that its vectors are not as wide as an embedder makes them.

    Each store says it in words of its own, and with both widths.
    """
    told = str(error).partition("\n")[0]
    if _SAYS_A_WIDTH.search(told) and re.search(rf"\b{embedder.width}\b", told):
        raise ContextMismatchError(
            f"{type(store).__name__} does not hold vectors of {embedder.width} numbers, as your embedding makes "
            f"them ({told}), so it was built by another model; load the model and the context that were saved with the "
            f"index, or put all nodes into a new store"
        ) from error


def stamps_in_directory(directory: Path) -> Stamps:
    """Return the stamps of a persisted index, or of a ContextualIndex.

    Raises:
        ContextFileError: the directory holds no index, or a file is damaged.
    """
    for own in (directory, *directory.glob("*__vector_store.json")):
        if holds_index(own):
            return {context_of_index(own)}
    context, vectors = context_in(directory), vectors_in(directory)
    if context is None and vectors is None:
        raise ContextFileError(f"{directory} holds no index; give the directory that an index was persisted in")
    stamps = known_stamps(vectors)
    if context is None:
        return stamps
    # The context next to the index covers nodes without a stamp.
    return {context.fingerprint, *(stamp for stamp in stamps if stamp is not None)}
