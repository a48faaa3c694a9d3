"""The measures of an evaluation, and bootstrap intervals of their means and differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
RESAMPLES = 10_000
LEVEL = 0.95
_DRAWN_AT_A_TIME = 1 << 22  # rows of queries: 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its bootstrap interval.

    Attributes:
        mean: of the values.
        low: (1 - level) / 2 of the resampled means are below it.
        high: as many are above it.
    """

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether both bounds are on one side of 0: for a difference, that it is significant."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers as JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def interval(sets: Sequence[Values], seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Return the mean over sets of the mean over a set's queries, with its bootstrap interval.

    Queries are drawn with replacement within each set; the sets stay. For two searches of the same queries give
    the differences per query: that is the paired bootstrap.

    Args:
        sets: S arrays (Q,), each of at least one value; for one set a list of one.
        seed: of the draws.
        resamples: R.
        level: share of the resampled means between the bounds.
    """
    rng = np.random.default_rng(seed)
    means = np.mean([_resampled_means(values, rng, resamples) for values in sets], axis=0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([values.mean() for values in sets])), float(low), float(high))


def _resampled_means(values: Values, rng: np.random.Generator, resamples: int) -> Values:
    """Return (R,) means of Q values each, drawn with replacement."""
    means = np.empty(resamples)
    block = max(1, _DRAWN_AT_A_TIME // len(values))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        means[start:stop] = values[rng.integers(len(values), size=(stop - start, len(values)))].mean(axis=1)
    return means


# Our names, and ir-measures' own.
MEASURES: Mapping[str, str] = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "mrr@10": "RR@10", "map": "AP"}
MAIN = "ndcg@10"
DEPTH = 1_000  # hits per query: what average precision is usually computed from
