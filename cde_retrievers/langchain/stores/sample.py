"""The contexts that any LangChain store states, if need be by the stamps of the documents that a search finds."""

import logging
from collections.abc import Set

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.langchain.stores.registry import find_kind, is_readable
from cde_retrievers.validation.vectors import checked_width

logger = logging.getLogger(__name__)
_SAMPLE = 100  # documents read from a store


def stamps_of(store: VectorStore, embeddings: ContextBoundMixin) -> Set[str | None]:
    """Return the stamps that a store states; None stands for documents without one, no stamp for an empty store.

    A store that cannot be asked is taken for one without stamps, and the reason is logged.
    """
    kind = find_kind(store)
    if kind is not None and is_readable(store):
        return kind.stamps(store)
    reason = None if kind is None else kind.unreadable_reason(store)
    if reason is not None:
        logger.warning("%s cannot be asked for its context: %s", type(store).__name__, reason)
        return {None}
    try:
        found = _nearest(store, checked_width(embeddings.embedder.width))
    except Exception as error:  # a store of any maker, which may be for vectors of another width
        logger.warning("%s cannot be asked for its context: %s: %s", type(store).__name__, type(error).__name__, error)
        return {None}
    return {document.metadata.get(CONTEXT_KEY) for document in found}


def _nearest(store: VectorStore, width: int) -> list[Document]:
    """Return a hundred documents of a store."""
    try:
        return store.similarity_search_by_vector([1.0] + [0.0] * (width - 1), k=_SAMPLE)
    except NotImplementedError:  # some stores embed every query themselves
        return store.similarity_search("context", k=_SAMPLE)
