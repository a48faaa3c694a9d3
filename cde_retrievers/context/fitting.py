"""Fitting a context on a corpus, for every kind of embedder. Axes: M candidates, N context documents, W width."""

from collections.abc import Callable, Iterable

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.selection import Selection, select_documents
from cde_retrievers.errors import ContextTooSmallError
from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.validation.vectors import Vectors

_SAME_VECTOR = 1e-3  # relative spread that rounding can cause, even in bfloat16


def fit(
    texts: Iterable[str],
    size: int,
    strategy: str,
    seed: int,
    embed: Callable[[list[str]], Vectors],
    model_name: str,
    model_fingerprint: str,
    recorded_as: str | None = None,
) -> CorpusContext:
    """Choose documents that represent the corpus, embed them, and make its context of them.

    Args:
        texts: the corpus, as any iterable; read once, in bounded memory.
        size: number of context documents, N.
        strategy: a key of `selection.STRATEGIES`.
        seed: same corpus and seed, same context.
        embed: returns first-stage vectors (M, W) of texts.
        model_name: as in `CorpusContext`.
        model_fingerprint: as in `CorpusContext`.
        recorded_as: the strategy that enters the context's fingerprint; `strategy` if None.

    Raises:
        ConfigurationError: size, strategy or seed is impossible.
        InvalidTextError: the corpus is not a collection of texts.
        ContextTooSmallError: it has fewer than two distinct texts, or all look the same to the model.
        EmbeddingServiceError: `embed` did not return one finite vector for each text.
    """
    chosen = select_documents(texts, size, strategy, seed, embed)
    _refuse_indistinguishable(chosen)
    return CorpusContext(
        vectors=chosen.vectors,
        model_name=model_name,
        model_fingerprint=model_fingerprint,
        documents=tuple(sha256_of_text(text) for text in chosen.texts),
        positions=tuple(chosen.positions),
        distinct=chosen.distinct,
        corpus_size=chosen.seen,
        strategy=strategy if recorded_as is None else recorded_as,
        seed=int(seed),
    )


def _refuse_indistinguishable(chosen: Selection) -> None:
    if np.ptp(chosen.vectors, axis=0).max() < _SAME_VECTOR * np.abs(chosen.vectors).max():
        raise ContextTooSmallError(
            f"all context documents look the same to the model ({chosen.distinct} distinct ones, such as "
            f"{chosen.texts[0][:60]!r}), so it cannot tell them apart; fit on the whole corpus"
        )


def null_context(vectors: Vectors, model_name: str, model_fingerprint: str) -> CorpusContext:
    """Make a context of null vectors (N, W), without documents."""
    return CorpusContext(
        vectors=vectors,
        model_name=model_name,
        model_fingerprint=model_fingerprint,
        documents=(),
        positions=(),
        distinct=0,
        corpus_size=0,
        strategy="null",
        seed=0,
    )
