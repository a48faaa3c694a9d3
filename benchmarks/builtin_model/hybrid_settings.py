"""Settings of hybrid search, how good each is on a set, and which of them is chosen. Axes: m queries, n documents."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from choosing_data import ChoosingSet, Values, best
from fusions import FUSIONS, Dense, Lexical, Weights, reciprocal_ranks

from cde_retrievers.model.whitening import fit_whitening
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.validation.vectors import unit_rows

POWERS = (0.0, 0.1, 0.2, 0.3, 0.4)
SHRINKAGES = (0.1, 1.0)
K1 = (0.9, 1.2, 1.6)
B = (0.4, 0.6, 0.75, 0.9)
FEEDBACK = (0.0, 0.1, 0.2, 0.3)
FEEDBACK_DOCUMENTS = 3
# Points that no set may be below MiniLM, and below the better of MiniLM and BM25.
Limits = tuple[float, float]
LIMITS: Limits = (1.0, np.inf)
BOTH_LIMITS: Limits = (1.0, 2.0)
NO_LIMITS: Limits = (np.inf, np.inf)
WIDENED_BY = 0.5
TOLERANCE = 0.1


class Choosable(Protocol):
    """Something with settings that the rule chooses."""

    def complexity(self) -> tuple[float, ...]:
        """Sorts the simpler first."""


S = TypeVar("S", bound=Choosable)


@dataclass(frozen=True, order=True)
class Setting:
    """One way to search: a fusion of `FUSIONS` with its weights, the closed form's settings, BM25's, and feedback."""

    fusion: str
    weights: Weights
    power: float = 0.3
    shrinkage: float = 1.0
    k1: float = 1.2
    b: float = 0.75
    feedback: float = 0.0

    def complexity(self) -> tuple[float, ...]:
        """Sorts the simpler first: without feedback, with few constants, and near the usual values in grid steps."""
        steps = abs(POWERS.index(self.power) - POWERS.index(0.3)) + abs(K1.index(self.k1) - K1.index(1.2))
        steps += abs(B.index(self.b) - B.index(0.75)) + (self.shrinkage != 1.0)
        return int(self.feedback > 0), len(self.weights), steps

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON, with the formula."""
        return {**asdict(self), "formula": FUSIONS[self.fusion].text}


class Views:
    """What a set's documents and queries are under its context, dense and lexical; each computed once."""

    def __init__(self, data: ChoosingSet) -> None:
        self.data = data
        self.vectors = cache(self._vectors)
        self.dense = cache(self._dense)
        self.lexical = cache(self._lexical)
        self.feedback = lru_cache(maxsize=1)(self._feedback)  # settings come with all their feedbacks in a row

    def scores(self, setting: Setting) -> Values:
        """Scores (m, n) of every document for every query."""
        dense = self.dense(setting.power, setting.shrinkage)
        if setting.feedback:
            towards, along, squares = self.feedback(replace(setting, feedback=0.0))
            lengths = np.sqrt(1 + 2 * setting.feedback * along + setting.feedback**2 * squares)
            cosines = (dense.cosines + setting.feedback * towards) / lengths
            dense = replace(dense, cosines=cosines)
        return FUSIONS[setting.fusion].scores(dense, self.lexical(setting.k1, setting.b), setting.weights)

    def _feedback(self, first: Setting) -> tuple[Values, Values, Values]:
        """The mean vector of the best documents: its products with documents (m, n), with the query and itself (m, 1).

        Of these follow the cosines of the sum of query and mean, for any weight of the mean.
        """
        documents, asked = self.vectors(first.power, first.shrinkage)
        mean = documents[best(self.scores(first), FEEDBACK_DOCUMENTS)].mean(axis=1)
        return mean @ documents.T, (asked * mean).sum(axis=1, keepdims=True), (mean * mean).sum(axis=1, keepdims=True)

    def _vectors(self, power: float, shrinkage: float) -> tuple[Values, Values]:
        """Unit vectors of documents (n, W) and queries (m, W)."""
        plain = [torch.from_numpy(vectors) for vectors in (self.data.documents, self.data.asked)]
        whiten = fit_whitening(plain[0][self.data.context], power, shrinkage)
        documents, asked = (unit_rows(whiten(vectors).numpy()) for vectors in plain)
        return documents, asked

    def _dense(self, power: float, shrinkage: float) -> Dense:
        documents, asked = self.vectors(power, shrinkage)
        cosines, context = asked @ documents.T, documents[self.data.context]
        among = (context @ context.T)[np.triu_indices(len(context), 1)]
        return Dense(cosines, self.data.context, float(among.std()))

    def _lexical(self, k1: float, b: float) -> Lexical:
        statistics = replace(self.data.statistics, k1=k1, b=b)
        asked = query_rows(self.data.queries, statistics)
        scores = (asked @ document_rows(self.data.texts, statistics).T).toarray()
        return Lexical(scores, np.asarray(asked.sum(axis=1)).ravel())


@dataclass(frozen=True)
class Baselines:
    """nDCG@10 (sets,) of what the settings are held against: the usual BM25, plain MiniLM, the closed form, and RRF."""

    plain: Values
    whitening: Values
    bm25: Values
    rrf: Values

    @classmethod
    def of(cls, sets: Iterable[Views]) -> "Baselines":
        """Search every set."""
        rows = []
        for views in sets:
            plain, lexical = views.dense(0.0, 1.0).cosines, views.lexical(1.2, 0.75)
            ways = (plain, views.dense(0.3, 1.0).cosines, lexical.scores, reciprocal_ranks(plain, lexical))
            rows.append([views.data.ndcg(scores) for scores in ways])
        return cls(*np.array(rows).T)

    def by_name(self) -> dict[str, Values]:
        """All of them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def shortfalls(self, found: Values) -> tuple[float, float]:
        """By how many points the worst set is below plain MiniLM, and below the better of MiniLM and BM25."""
        better = np.maximum(self.plain, self.bm25)
        return 100 * float(np.max(self.plain - found)), 100 * float(np.max(better - found))


def choose(table: Mapping[S, Values], baselines: Baselines, limits: Limits = LIMITS) -> tuple[S, float]:
    """The setting that the rule of `choose_hybrid.py` takes, and by how many points the limits had to be widened."""
    over = {
        setting: max(below - limit for below, limit in zip(baselines.shortfalls(found), limits, strict=True))
        for setting, found in table.items()
    }
    widened = max(0.0, WIDENED_BY * float(np.ceil(min(over.values()) / WIDENED_BY)))
    safe = {setting: 100 * float(np.mean(found)) for setting, found in table.items() if over[setting] <= widened}
    close = [setting for setting, mean in safe.items() if mean >= max(safe.values()) - TOLERANCE]
    return min(close, key=lambda setting: (*setting.complexity(), -safe[setting])), widened
