"""Documents of a batch that a query may not be trained against, because they probably answer it too.

Axes: B queries of a batch, M documents of it, H hard negatives per query.
"""

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Indices, TrainingPairs

Mask = NDArray[np.bool_]
# Texts that the surrogate sees alike, having cut them, score alike but for rounding; they count as equal.
_ROUNDING = np.float32(1e-6)


def false_negatives(
    pairs: TrainingPairs,
    batch: Indices,
    candidates: Indices,
    own: Indices,
    vectors: PairVectors | None,
    threshold: float | None = 1.0,
) -> Mask:
    """Entries of the score matrix to keep out of the loss's denominator -> (B, M), True for excluded.

    With g the cosine of the surrogate's vectors, threshold 1.0 excludes every document d' with g(q, d') >= g(q, d+),
    d+ the positive (the paper's set S(q, d), equation 4). Any other threshold t excludes g(q, d') >= t. The positive's
    own text in another column, and every other document that the pairs know as an answer to the query, are always
    excluded. A query's positive and its own hard negatives never are.

    Args:
        pairs: what the rows are rows of.
        batch: row of the pair that each query is from, (B,).
        candidates: row in `documents` of each column, (M,).
        own: columns of each query's positive, then of its hard negatives, (B, 1 + H).
        vectors: of the surrogate; if None only known answers are excluded.
        threshold: 1.0, a smaller positive number, or None for known answers only.

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
    """Refuse a threshold that no cosine similarity is compared with.

    Raises:
        ConfigurationError: it is not None, and not above 0 and at most 1.
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
