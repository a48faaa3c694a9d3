"""Relevance scores that mean the same in every store: (1 + cosine) / 2."""

from collections.abc import Callable
from functools import partial

from langchain_core.vectorstores import VectorStore

from cde_retrievers.langchain.stores.registry import kind_of


def with_cosine_relevance(store: VectorStore) -> VectorStore:
    """Make a store's relevance scores (1 + cosine) / 2, as `ContextualVectorStore` has them, and return the store.

    LangChain's own relevance scores take cosines for close to 1, and others become negative. Vectors under a context
    lie around zero, so that cosines close to 0 are usual.

    Args:
        store: a store of a supported kind (docs/stores.md), of any embeddings of length 1.
            `ContextualRetriever.from_documents` makes its stores so; one that is opened again needs this call.

    Raises:
        ConfigurationError: the store is of another kind.
    """
    relevance = partial(_relevance, kind_of(store).cosine(store))
    # LangChain's hook for the stores' own functions; not all constructors take one.
    store._select_relevance_score_fn = partial(_same, relevance)  # type: ignore[method-assign]
    return store


def _relevance(cosine: Callable[[float], float], score: float) -> float:
    return min(1.0, max(0.0, (1.0 + float(cosine(score))) / 2))


def _same(function: Callable[[float], float]) -> Callable[[float], float]:
    return function
