"""Which of the documents that score high for a query become its hard negatives.

Axes: C candidates of a query.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.pairs.pairs import Indices

Strategy = Literal["top", "random"]
STRATEGIES: tuple[Strategy, ...] = ("top", "random")
_MORE_TO_CHOOSE_FROM = 10  # candidates per negative where some may be refused, as sentence-transformers takes


@dataclass(frozen=True, kw_only=True)
class MiningRules:
    """Which documents become hard negatives; names and meanings as in sentence-transformers' `mine_hard_negatives`.

    Ranks count documents that pass all other rules, from 0; scores are cosine similarities. A query's search goes no
    deeper than `range_max` and what is known of it.

    Attributes:
        num_negatives: per pair, at most.
        range_min: rank of the first that may be taken.
        range_max: rank behind the last; if None, as many as are needed, or ten times that where a rule on scores
            refuses some or the choice is random.
        max_score: what scores higher is not taken.
        min_score: what scores lower is not taken.
        absolute_margin: what scores less than this below the query's worst positive is not taken.
        relative_margin: the same, as a share of that positive's score.
        sampling_strategy: "top", or "random" among those in the window.

    Raises:
        ConfigurationError: they contradict each other, or no document can meet them.
    """

    num_negatives: int = 1
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling_strategy: Strategy = "top"

    def __post_init__(self) -> None:
        if self.sampling_strategy not in STRATEGIES:
            raise ConfigurationError(
                f"sampling_strategy {self.sampling_strategy!r} is unknown; use one of {', '.join(STRATEGIES)}"
            )
        for name in ("num_negatives", "range_min", "range_max"):
            number = getattr(self, name)
            if number is not None and not isinstance(number, int):
                raise ConfigurationError(f"{name} is {number!r}; give a whole number")
        if self.num_negatives < 1 or self.range_min < 0:
            raise ConfigurationError(
                f"at least one negative is mined and ranks count from 0, found num_negatives={self.num_negatives}, "
                f"range_min={self.range_min}"
            )
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise ConfigurationError(
                f"no score is at least min_score={self.min_score} and at most max_score={self.max_score}; swap them"
            )
        if self.range_max is not None and self.range_max - self.range_min < self.num_negatives:
            raise ConfigurationError(
                f"ranks {self.range_min} to {self.range_max} have no room for {self.num_negatives} negatives; raise "
                f"range_max or lower range_min"
            )

    @property
    def window(self) -> int:
        """Rank behind the last that may be taken."""
        if self.range_max is not None:
            return self.range_max
        picky = any(limit is not None for limit in (self.max_score, self.absolute_margin, self.relative_margin))
        more = _MORE_TO_CHOOSE_FROM if picky or self.sampling_strategy == "random" else 1
        return self.range_min + self.num_negatives * more

    def passes(self, scores: NDArray[np.float32], worst_positive: float) -> NDArray[np.bool_]:
        """Which of these scores are neither too high nor too low, beside that of the query's worst positive; (C,)."""
        highest = [np.inf if self.max_score is None else self.max_score]
        if self.absolute_margin is not None:
            highest.append(worst_positive - self.absolute_margin)
        if self.relative_margin is not None:
            highest.append(worst_positive - abs(worst_positive) * self.relative_margin)
        passed: NDArray[np.bool_] = scores <= min(highest)
        return passed if self.min_score is None else passed & (scores >= self.min_score)

    def choose(self, ranked: Indices, rng: Generator) -> Indices:
        """The negatives among documents that passed, best first."""
        window = ranked[self.range_min : self.window]
        if self.sampling_strategy == "random" and len(window) > self.num_negatives:
            window = window[np.sort(rng.choice(len(window), self.num_negatives, replace=False))]
        return window[: self.num_negatives]
