"""Checks that the context an index was built under is the embedding's."""

from collections.abc import Set
from pathlib import Path

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.index.reader import IndexReader, context_of_index, holds_index
from cde_retrievers.llama_index.storage_dir import context_beside, vectors_in

_SAMPLE = 100

Index = VectorStoreIndex | StorageContext | BasePydanticVectorStore | IndexReader | str | Path
Stamps = Set[str | None]
"""Every fingerprint found; None means vectors without one."""


def check_index(index: Index, embed_model: ContextBoundMixin) -> ContextCheck:
    """Compare the context that an index says it was built under with the embedding's.

    A persisted index records it as the context next to it, a vector store with the stamps of its nodes or with a
    `context_fingerprint` of its own. All nodes of a `SimpleVectorStore` are looked at, and a hundred of any other
    store. If any names another context the answer is "another context"; else, if any names none, "index carries no
    context".

    Args:
        index: an index, its storage context, its vector store, or the directory that it was persisted in; a
            ContextualIndex, or its directory.
        embed_model: embeds the queries.

    Raises:
        ConfigurationError: `index` is of another type.
        ContextNotFittedError: the embedding has no context.
        ContextFileError: there is no index in the directory, or a file of it is damaged.
    """
    yours = embed_model.context.fingerprint
    if isinstance(index, IndexReader):
        return ContextCheck(context_of_index(index), yours)
    if isinstance(index, str | Path):
        return _check(_stamps_in_folder(Path(index)), yours)
    return _check(_stamps_of(index, embed_model), yours)


def refuse_other_context(index: VectorStoreIndex, embed_model: ContextBoundMixin) -> None:
    """Refuse an index that is known to be of another context, without asking its vector store a query.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index embeds, or its nodes were embedded, under another context.
    """
    fingerprint = embed_model.context.fingerprint
    theirs = getattr(index, "_embed_model", None)
    if isinstance(theirs, ContextBoundMixin):
        theirs.check_context(fingerprint)
    check = _check(_stamps_at_hand(index.vector_store), fingerprint)
    if check.theirs is not None:
        check.raise_if_different()


def refuse_to_mix(store: BasePydanticVectorStore, embed_model: ContextBoundMixin) -> None:
    """Refuse to add to a vector store what would be embedded under another context than its nodes.

    Raises:
        ContextMismatchError: the store names another context, or names one while the embedding has none yet.
    """
    stamps = _stamps_of(store, embed_model)
    named = sorted(stamp for stamp in stamps if stamp is not None)
    if named and not embed_model._binding.is_fitted:
        raise ContextMismatchError(
            f"the vector store already holds nodes of context {named[0]}, but the embedding has no context yet; one "
            f"fitted on other nodes would not match them. Load the one that was saved with the index (context_path=...)"
        )
    check = _check(stamps, embed_model.context.fingerprint) if named else None
    if check is not None and check.verdict == "another context":
        raise ContextMismatchError(
            f"the vector store already holds nodes of context {check.theirs}, but new ones would be embedded under "
            f"{check.yours}, and the two cannot be compared; load the context that was saved with "
            f"the index, or put all documents into an empty vector store, with a document store of their own: "
            f"SimpleDocumentStore(namespace=docstore_namespace(embed_model))"
        )


def _check(stamps: Stamps, yours: str) -> ContextCheck:
    others = sorted(stamp for stamp in stamps if stamp not in (None, yours))
    if others:
        return ContextCheck(others[0], yours)
    return ContextCheck(yours if stamps == {yours} else None, yours)


def _stamps_of(index: object, embed_model: ContextBoundMixin) -> Stamps:
    store = index if isinstance(index, BasePydanticVectorStore) else getattr(index, "vector_store", None)
    if not isinstance(store, BasePydanticVectorStore):
        raise ConfigurationError(
            f"index must be an index, a storage context, a vector store or the directory of a persisted index, found "
            f"{type(index).__name__}"
        )
    return _stamps_at_hand(store) or _stamps_of_sample(store, embed_model._binding.encoder.width)


def _stamps_at_hand(store: object) -> Stamps:
    """The contexts a vector store reveals without a query; empty if its nodes are elsewhere or absent."""
    own = getattr(store, "context_fingerprint", None)
    if own is not None:
        return {own}
    if not isinstance(store, SimpleVectorStore):
        return set()
    return {(store.data.metadata_dict.get(node_id) or {}).get(CONTEXT_KEY) for node_id in store.data.embedding_dict}


def _stamps_of_sample(store: BasePydanticVectorStore, width: int) -> Stamps:
    if isinstance(store, SimpleVectorStore):
        return set()  # empty, and its answers are ids without nodes
    direction = [1.0] + [0.0] * (width - 1)
    found = store.query(VectorStoreQuery(query_embedding=direction, similarity_top_k=_SAMPLE))
    return {node.metadata.get(CONTEXT_KEY) for node in found.nodes or ()}


def _stamps_in_folder(folder: Path) -> Stamps:
    for own in (folder, *folder.glob("*__vector_store.json")):
        if holds_index(own):
            return {context_of_index(own)}
    context, vectors = context_beside(folder), vectors_in(folder)
    if context is None and vectors is None:
        raise ContextFileError(f"{folder} holds no index; give the directory that an index was persisted in")
    stamps = _stamps_at_hand(vectors)
    if context is None:
        return stamps
    # The context next to the index covers nodes without a stamp.
    return {context.fingerprint, *(stamp for stamp in stamps if stamp is not None)}
