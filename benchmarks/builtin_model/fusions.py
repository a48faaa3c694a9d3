"""Ways to add BM25 to the cosine of vectors. Axes: m queries, n documents.

In the formulas s is the cosine, l the BM25 score, M that of the query's best document, c = (M - l of the tenth) / M how
far that one stands out, I the query's mass of idf, which no score reaches, d the standard deviation of the query's
cosines to the context's documents, and D that of the cosines between these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Weights = tuple[float, ...]
RANK_OFFSET = 60
_TENTH = 10


@dataclass(frozen=True)
class Dense:
    """Cosines s (m, n) of all documents, which of these are the context's (N,), and the spread D among them."""

    cosines: Values
    context: NDArray[np.int64]
    corpus_spread: float

    @cached_property
    def spread(self) -> Values:
        """How much a query's cosines differ among the context's documents, d (m, 1)."""
        return self.cosines[:, self.context].std(axis=1, keepdims=True)


@dataclass(frozen=True)
class Lexical:
    """BM25 scores l (m, n) of all documents, and the mass of idf I (m,) of each query."""

    scores: Values
    mass: Values

    @cached_property
    def best(self) -> Values:
        """M (m, 1)."""
        return self.scores.max(axis=1, keepdims=True)

    @cached_property
    def share(self) -> Values:
        """The scores as shares of the best one, l / M; 0 where no document has a word of the query."""
        return self.scores / _positive(self.best)

    @cached_property
    def standing_out(self) -> Values:
        """How far the best document stands out, c (m, 1), from 0 to 1."""
        place = min(_TENTH, self.scores.shape[1])
        tenth = -np.partition(-self.scores, place - 1, axis=1)[:, place - 1 : place]
        return (self.best - tenth) / _positive(self.best)

    @cached_property
    def covered(self) -> Values:
        """M / I (m, 1): how much of the query its best document has, from 0 to 1."""
        return self.best / _positive(self.mass[:, None])


Formula = Callable[[Dense, Lexical, Weights], Values]


@dataclass(frozen=True)
class Fusion:
    """One way to add them.

    Attributes:
        text: the formula, to be read.
        scores: (cosines, BM25, weights) -> scores (m, n).
        weights: those to be tried, ascending, for each of the formula's constants.
    """

    text: str
    scores: Formula
    weights: tuple[Weights, ...]

    def grid(self) -> list[Weights]:
        """All combinations of weights."""
        return list(product(*self.weights))

    def around(self, weights: Weights) -> list[Weights]:
        """The combinations at most one step of each constant away."""
        steps = []
        for value, tried in zip(weights, self.weights, strict=True):
            place = tried.index(value)
            steps.append(tried[max(0, place - 1) : place + 2])
        return list(product(*steps))


def reciprocal_ranks(cosines: Values, lexical: Lexical) -> Values:
    """Reciprocal rank fusion of both rankings, with the usual 60; a document without a word of the query is unranked.

    Source: Cormack, Clarke & Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009.
    """
    by_words = np.where(lexical.scores > 0, 1 / (RANK_OFFSET + _ranks(lexical.scores)), 0)
    return (1 / (RANK_OFFSET + _ranks(cosines)) + by_words).astype(np.float32)


def _ranks(scores: Values) -> NDArray[np.int64]:
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, scores.shape[1] + 1)[None], axis=1)
    return ranks


def _positive(values: Values) -> Values:
    return np.where(values > 0, values, 1)


def _standardised(values: Values) -> Values:
    return (values - values.mean(axis=1, keepdims=True)) / _positive(values.std(axis=1, keepdims=True))


def _between_extremes(values: Values) -> Values:
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    return (values - low) / _positive(high - low)


def _weighed(text: str, weight: Callable[[Dense, Lexical, Weights], Values | float], *tried: Weights) -> Fusion:
    """The cosine plus a weight (m, 1) times the share l / M."""
    return Fusion(text, lambda s, w, a: s.cosines + np.float32(weight(s, w, a)) * w.share, tried)


_SMALL = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)
_LARGE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5)
_OF_SPREAD = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
FUSIONS: Mapping[str, Fusion] = {
    "share": _weighed("s + a l/M", lambda s, w, a: a[0], _SMALL),
    "standing out": _weighed("s + a c l/M", lambda s, w, a: a[0] * w.standing_out, _LARGE),
    "mass": _weighed("s + a l/I", lambda s, w, a: a[0] * w.covered, _LARGE),
    "power of the mass": Fusion(
        "s + a (l/I)^b",
        lambda s, w, a: s.cosines + a[0] * (w.covered * w.share) ** a[1],
        ((0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5), (1.25, 1.5, 1.75, 2.0)),
    ),
    "root of the mass": _weighed("s + a l/sqrt(M I)", lambda s, w, a: a[0] * np.sqrt(w.covered), _SMALL),
    "mass and standing out": _weighed("s + a c l/I", lambda s, w, a: a[0] * w.standing_out * w.covered, _LARGE),
    "share and standing out": _weighed(
        "s + (a + b c) l/M",
        lambda s, w, a: a[0] + a[1] * w.standing_out,
        (0.05, 0.1, 0.15, 0.2),
        (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2),
    ),
    "share and mass": _weighed(
        "s + a l/M + b l/I",
        lambda s, w, a: a[0] + a[1] * w.covered,
        (0.05, 0.1, 0.15, 0.2),
        (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2),
    ),
    "spread": _weighed("s + a d l/M", lambda s, w, a: a[0] * s.spread, _OF_SPREAD),
    "corpus' spread": _weighed("s + a D l/M", lambda s, w, a: a[0] * s.corpus_spread, _OF_SPREAD),
    "spread and standing out": _weighed(
        "s + a d c l/M",
        lambda s, w, a: a[0] * s.spread * w.standing_out,
        (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0),
    ),
    "z-scores": Fusion(
        "z(s) + a z(l)", lambda s, w, a: _standardised(s.cosines) + a[0] * _standardised(w.scores), (_SMALL,)
    ),
    "extremes": Fusion(
        "s and l from 0 to 1, s + a l",
        lambda s, w, a: _between_extremes(s.cosines) + a[0] * _between_extremes(w.scores),
        (_LARGE,),
    ),
}
