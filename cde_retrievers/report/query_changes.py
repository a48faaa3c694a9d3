"""The queries of a set that one search won or lost against another."""

from dataclasses import dataclass

import numpy as np

from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.metrics import MAIN
from cde_retrievers.evaluation.results import Evaluation

SHOWN = 10  # wins, and as many losses
_ANSWERS = 2  # texts of what should be found, per query
_EQUAL = 1e-9  # what a sum of rounded terms may differ by


@dataclass(frozen=True, slots=True)
class Search:
    """The result of one searcher for one query.

    Attributes:
        ndcg_at_10: how well.
        first: text of the best document, None if nothing was found.
        is_right: whether that answers the query.
    """

    ndcg_at_10: float
    first: str | None
    is_right: bool


@dataclass(frozen=True, slots=True)
class QueryChange:
    """One query with the own context and without.

    Attributes:
        query: its text.
        answers: texts of the best documents that should be found.
        more_answers: how many others should be.
        own: with the own context.
        without: without a context.
    """

    query: str
    answers: tuple[str, ...]
    more_answers: int
    own: Search
    without: Search

    @property
    def gain(self) -> float:
        """The difference in nDCG@10."""
        return self.own.ndcg_at_10 - self.without.ndcg_at_10


@dataclass(frozen=True, slots=True)
class QueryChanges:
    """The effect of a context on the queries of a set.

    Attributes:
        wins: the ten that gained most, most first.
        losses: the ten that lost most, most first.
        won: how many gained.
        lost: how many lost.
        same: how many did neither.
    """

    wins: tuple[QueryChange, ...]
    losses: tuple[QueryChange, ...]
    won: int
    lost: int
    same: int


def changes(data: RetrievalDataset, comparison: Comparison) -> QueryChanges:
    """The effect of the own context, query by query.

    Args:
        data: what was searched.
        comparison: on it.

    Raises:
        ConfigurationError: the comparison has no row without a context.
    """
    without = comparison.without.evaluation
    gains = comparison.own.differences(without)
    order = np.argsort(-gains, kind="stable")
    wins = [place for place in order.tolist() if gains[place] > _EQUAL]
    losses = [place for place in order[::-1].tolist() if gains[place] < -_EQUAL]
    texts = dict(zip(data.ids, data.texts, strict=True))

    def shown(places: list[int]) -> tuple[QueryChange, ...]:
        return tuple(_change(place, data, texts, comparison.own, without) for place in places[:SHOWN])

    return QueryChanges(shown(wins), shown(losses), len(wins), len(losses), len(gains) - len(wins) - len(losses))


def _change(
    place: int, data: RetrievalDataset, texts: dict[str, str], own: Evaluation, without: Evaluation
) -> QueryChange:
    query = own.queries[place]
    grades = {document: grade for document, grade in data.judged.relevant[query].items() if grade > 0}
    answers = sorted(grades, key=lambda document: -grades[document])
    first_answers = tuple(texts[document] for document in answers[:_ANSWERS])
    found = [_search(evaluation, place, texts, set(answers)) for evaluation in (own, without)]
    return QueryChange(data.judged.queries[query], first_answers, len(answers) - len(first_answers), *found)


def _search(evaluation: Evaluation, place: int, texts: dict[str, str], answers: set[str]) -> Search:
    value, best = float(evaluation.values[MAIN][place]), evaluation.best[place]
    return Search(value, texts[best[0]], best[0] in answers) if best else Search(value, None, False)
