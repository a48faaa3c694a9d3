"""Making a context from chosen documents, for every kind of embedder."""

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.selection import Selection
from cde_retrievers.errors import ContextTooSmallError
from cde_retrievers.storage.hashing import sha256_of_text

_SAME_VECTOR = 1e-3  # relative spread that rounding can cause, even in bfloat16


def context_of(
    chosen: Selection,
    model_name: str,
    model_fingerprint: str,
    strategy: str,
    seed: int,
    probe: NDArray[np.float32] | None = None,
) -> CorpusContext:
    """Make a context from the chosen documents; arguments are fields of `CorpusContext`.

    Raises:
        ContextTooSmallError: all of them look the same to the model.
    """
    if np.ptp(chosen.vectors, axis=0).max() < _SAME_VECTOR * np.abs(chosen.vectors).max():
        raise ContextTooSmallError(
            f"all context documents look the same to the model ({chosen.distinct} distinct ones, such as "
            f"{chosen.texts[0][:60]!r}), so it cannot tell them apart; fit on the whole corpus"
        )
    return CorpusContext(
        vectors=chosen.vectors,
        model_name=model_name,
        model_fingerprint=model_fingerprint,
        documents=[sha256_of_text(text) for text in chosen.texts],
        positions=chosen.positions,
        distinct=chosen.distinct,
        corpus_size=chosen.seen,
        strategy=strategy,
        seed=int(seed),
        probe=probe,
    )


def context_of_no_corpus(vectors: NDArray[np.float32], model_name: str, model_fingerprint: str) -> CorpusContext:
    """Make a context of null vectors (N, width), without documents."""
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
