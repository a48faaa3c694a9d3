"""False negatives: documents of a batch that probably answer a query of another pair.

Axes: B queries of a batch, M documents of it, H hard negatives per query.
"""

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Indices, TrainingPairs

Mask = NDArray[np.bool_]
# Texts that the surrogate cuts to the same tokens have the same score but for rounding.
_ROUNDING = np.float32(1e-6)


def false_negatives(
    pairs: TrainingPairs,
    batch: Indices,
    candidates: Indices,
    own: Indices,
    vectors: PairVectors | None,
    threshold: float | None = 1.0,
) -> Mask:
    """The mask of scores to leave out of the loss's denominator -> (B, M), True for excluded.

    Let g be the cosine of the surrogate's vectors and d+ the positive of q. Threshold 1.0 excludes every document d'
    with g(q, d') >= g(q, d+) (the paper's set S(q, d), equation 4); another threshold t excludes g(q, d') >= t. Known
    answers to the query in other columns, the positive's own text included, are always excluded. The query's positive
    and its own hard negatives never are.

    Args:
        pairs: to train on.
        batch: row of each query's pair, (B,).
        candidates: row in `documents` of each column, (M,).
        own: columns of each query's positive and hard negatives, (B, 1 + H).
        vectors: of the surrogate; with None only known answers are excluded.
        threshold: above 0 and at most 1; with None only known answers are excluded.

    Raises:
        ConfigurationError: the threshold is not above 0 and at most 1.
        TrainingDataError: the vectors are of other pairs.
    """
    check_threshold(threshold)
    queries = pairs.query_of[batch]
    answers = np.zeros((len(batch), len(candidates)), dtype=np.bool_)
    for row, query in enumerate(queries):
        answers[row] = np.isin(candidates, pairs.answers_of[query])
    if vectors is not None and threshold is not None:
        vectors.check_pairs(pairs)
        scores = vectors.queries[queries] @ vectors.documents[candidates].T
        answers |= scores >= _limits(scores, own, threshold)
    np.put_along_axis(answers, own, False, axis=1)
    return answers


def check_threshold(threshold: float | None) -> None:
    """Refuse an impossible threshold.

    Raises:
        ConfigurationError: it is a number, but not above 0 and at most 1.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ConfigurationError(
            f"the threshold of the false-negative filter must be above 0 and at most 1, found {threshold}; 1.0 is the "
            f"paper's rule, None disables the surrogate's part"
        )


def _limits(scores: NDArray[np.float32], own: Indices, threshold: float) -> NDArray[np.float32]:
    """The lowest score that excludes a document, (B, 1)."""
    if threshold == 1.0:
        positives: NDArray[np.float32] = np.take_along_axis(scores, own[:, :1], axis=1)
        return positives - _ROUNDING
    return np.full((len(scores), 1), threshold, dtype=np.float32)
