"""Two-sample test of vectors: are both of one distribution, and how separable are they?

Axes: N pooled vectors, of which the first n are the reference's; W width; P permutations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.validation.vectors import unit_rows

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PERMUTATIONS = 499
LEVEL = 0.01
SMALLEST_SAMPLE = 16
SHARPNESS = 0.5
_SHRINKAGE = 1.0
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of the two-sample test.

    Attributes:
        statistic: squared maximum mean discrepancy of the samples; see `mean_discrepancies`.
        threshold: the statistic is significant at `LEVEL` if it exceeds this.
        p_value: share of `PERMUTATIONS` random splits of the pooled vectors, and the true one, that are at least as far
            apart as the true one.
        share: how well one vector tells which sample it is of, from 0 (not at all) to 1; see `separability`.
    """

    statistic: float
    threshold: float
    p_value: float
    share: float


def compare(reference: Vectors, new: Vectors, seed: int) -> Comparison:
    """Compare the directions of vectors (n, W) with those of others (N - n, W); at least `SMALLEST_SAMPLE` of each.

    The test is exact: where both samples are drawn independently from one distribution, whichever it is, `p_value` is
    at most `LEVEL` with a probability of at most `LEVEL`.
    """
    rng = np.random.default_rng(seed)
    pooled = unit_rows(np.concatenate([reference, new]))
    is_new = np.arange(len(pooled)) >= len(reference)
    others = rng.permuted(np.tile(is_new, (PERMUTATIONS, 1)), axis=1)
    statistic, *null = mean_discrepancies(kernel(pooled), np.concatenate([is_new[None], others]))
    # The true split counts as one of those that are at least as far apart as itself.
    allowed = int(LEVEL * (PERMUTATIONS + 1)) - 1
    return Comparison(
        statistic=float(statistic),
        threshold=float(sorted(null, reverse=True)[allowed]),
        p_value=float((1 + np.count_nonzero(null >= statistic)) / (PERMUTATIONS + 1)),
        share=separability(pooled, is_new, rng),
    )


def kernel(vectors: Vectors, sharpness: float = SHARPNESS) -> Vectors:
    """Compute the Gaussian kernel exp(-sharpness d^2 / median d^2) of unit vectors (N, W) -> (N, N).

    At the default its width is the median distance; `benchmarks/drift_kernel.py` compares others, on training sets.
    """
    squared = np.maximum(2 - 2 * vectors @ vectors.T, 0)
    # The smallest normal number keeps identical vectors from dividing by zero.
    median = max(np.median(squared), np.finfo(np.float32).tiny)
    values: Vectors = np.exp(np.float32(-sharpness / median) * squared)
    return values


def mean_discrepancies(kernel: Vectors, splits: Mask) -> Floats:
    """Compute the squared maximum mean discrepancy of the two samples for each of several splits (P, N) -> (P,).

    The biased estimate of Gretton et al. (A Kernel Two-Sample Test, JMLR 2012), from the kernel (N, N) of all vectors.
    """
    centred = kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + kernel.mean()
    # All rows of the centred kernel sum to zero, so one sample's part of it gives both means.
    within = ((splits.astype(np.float32) @ centred) * splits).sum(axis=1, dtype=np.float64)
    size = splits.sum(axis=1)
    scale = len(kernel) / (size * (len(kernel) - size))
    discrepancies: Floats = within * scale**2
    return discrepancies


def separability(vectors: Vectors, is_new: Mask, rng: np.random.Generator) -> float:
    """Return 2 AUC - 1 of a linear discriminant on vectors (N, W) that were held out; `is_new` (N,) are the labels.

    1 if the samples are told apart without error, 0 if no better than by chance. If a share s of the second sample is
    foreign and easily recognised, this is about s; less where what is foreign resembles the reference. Fitted on four
    fifths and read off the last, in turn, so chance averages to zero; what falls below zero is given as zero.
    """
    vectors = _coordinates(vectors)
    part = np.empty(len(vectors), dtype=np.int64)
    for sample in (is_new, ~is_new):
        part[sample] = rng.permutation(np.count_nonzero(sample)) % _FOLDS
    values = [_held_out_auc(vectors, is_new, part == fold) for fold in range(_FOLDS)]
    return max(0.0, float(2 * np.mean(values) - 1))


def _coordinates(vectors: Vectors) -> Vectors:
    """Return vectors (N, W) as (N, min(N, W)) with the same inner products, in the space they span."""
    if vectors.shape[1] <= len(vectors):
        return vectors
    reduced: Vectors = np.asarray(np.linalg.qr(vectors.T, mode="r")).T
    return reduced


def _held_out_auc(vectors: Vectors, is_new: Mask, held: Mask) -> float:
    """Return how often a held-out new vector scores above a held-out reference one, by a discriminant of the rest."""
    new, old = vectors[is_new & ~held], vectors[~is_new & ~held]
    within = np.concatenate([new - new.mean(axis=0), old - old.mean(axis=0)])
    direction = np.linalg.solve(_covariance(within), new.mean(axis=0) - old.mean(axis=0))
    higher = (vectors[is_new & held] @ direction)[:, None] - vectors[~is_new & held] @ direction
    return float(np.mean(higher > 0) + np.mean(higher == 0) / 2)


def _covariance(centred: Vectors) -> Vectors:
    """Return the covariance (W, W) of centred vectors (N, W), plus a ridge of the mean variance of their span."""
    covariance = centred.T @ centred / len(centred)
    rank = min(centred.shape[1], len(centred) - 1)
    ridge = max(_SHRINKAGE * np.trace(covariance) / rank, np.finfo(np.float32).tiny)
    regular: Vectors = covariance + np.float32(ridge) * np.eye(len(covariance), dtype=np.float32)
    return regular
