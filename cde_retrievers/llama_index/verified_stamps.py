"""Stamps for nodes that were indexed without one, after a look at their vectors."""

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores import SimpleVectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.vector_checks import find_foreign


def stamp_verified(index: VectorStoreIndex, embed_model: ContextBoundEmbedding) -> None:
    """Stamp the nodes of a `SimpleVectorStore` that have no stamp, if their vectors are those of the embedding.

    The stamps are in the vector store's metadata; the nodes stay as they are.

    Raises:
        ContextMismatchError: a vector is another one, the vectors or their nodes cannot be read, or the embedding was
            refitted after it had embedded something, since contexts of like documents make like vectors.
    """
    yours = embed_model.context.fingerprint
    store = index.vector_store
    if embed_model._binding.has_had_others:
        raise _unknown(yours, "the embedding had another context before")
    if not isinstance(store, SimpleVectorStore):
        raise _unknown(yours, f"the vectors of a {type(store).__name__} cannot be compared")
    metadata = store.data.metadata_dict
    ids = [one for one in store.data.embedding_dict if CONTEXT_KEY not in (metadata.get(one) or {})]
    nodes = [index.docstore.docs.get(one) for one in ids]
    known = [node for node in nodes if isinstance(node, BaseNode)]
    if len(known) < len(ids):
        raise _unknown(yours, f"the index has no text for {len(ids) - len(known)} of its vectors")
    if not known:
        return
    foreign = find_foreign(known, [store.data.embedding_dict[one] for one in ids], embed_model)
    if foreign is not None:
        raise _unknown(yours, f"the vector of node {foreign.node_id} is not the one that its text has under it")
    for one in ids:
        metadata[one] = {**(metadata.get(one) or {}), CONTEXT_KEY: yours}


def _unknown(fingerprint: str, reason: str) -> ContextMismatchError:
    return ContextMismatchError(
        f"the index has nodes that carry no context, so their vectors may not have been made under {fingerprint}, and "
        f"{reason}; build it from stamped(nodes, embed_model), or through a ContextFitter"
    )
