"""The measures of an evaluation, and bootstrap intervals of their means and differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
RESAMPLES = 10_000
LEVEL = 0.95
FEWEST_NONZERO = 6
"""The sign test at 5 % needs as many: 2 / 2^6 < 0.05 < 2 / 2^5."""
_DRAWN_AT_A_TIME = 1 << 22  # rows of queries: 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its bootstrap interval.

    Attributes:
        mean: of the values.
        low: (1 - level) / 2 of the resampled means are below it.
        high: as many are above it.
        count: number of values.
        nonzero: number of values other than 0: for a difference, of the queries that tell the two apart.
    """

    mean: float
    low: float
    high: float
    count: int
    nonzero: int

    @property
    def excludes_zero(self) -> bool:
        """Whether both bounds are on one side of 0."""
        return self.low > 0 or self.high < 0

    @property
    def is_significant(self) -> bool:
        """For a difference, whether it excludes zero and rests on six queries or more.

        Of five that all go one way the bootstrap is sure, but a coin would fall like that in 1 of 16 cases.
        """
        return self.excludes_zero and self.nonzero >= FEWEST_NONZERO

    def to_dict(self) -> dict[str, float]:
        """Return mean and bounds as JSON values."""
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
    return Interval(
        mean=float(np.mean([values.mean() for values in sets])),
        low=float(low),
        high=float(high),
        count=sum(len(values) for values in sets),
        nonzero=sum(int(np.count_nonzero(values)) for values in sets),
    )


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
