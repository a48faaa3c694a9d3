"""The queries of a set that one search won or lost against another."""

from dataclasses import dataclass, replace

import numpy as np

from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.metrics import MAIN
from cde_retrievers.evaluation.results import Evaluation
from cde_retrievers.report.deciding_words import deciding_words
from cde_retrievers.sparse import TermStatistics

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
    """One query in the first row of a comparison and without a context.

    Attributes:
        query: its text.
        answers: texts of the best documents that should be found.
        more_answers: how many others should be.
        own: in the first row.
        without: by vectors alone, without a context.
        words: the query's words that favoured the right document where it gained, and the wrong one where it lost; at
            most three, most first.
    """

    query: str
    answers: tuple[str, ...]
    more_answers: int
    own: Search
    without: Search
    words: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """The difference in nDCG@10."""
        return self.own.ndcg_at_10 - self.without.ndcg_at_10


@dataclass(frozen=True, slots=True)
class QueryChanges:
    """The queries of a set, in the first row of a comparison against no context.

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


def changes(data: RetrievalDataset, comparison: Comparison, terms: TermStatistics | None = None) -> QueryChanges:
    """What the first row finds against the model by vectors alone and without a context, query by query.

    Args:
        data: what was searched.
        comparison: on it.
        terms: statistics of the own context, to name the words that decided; None to name none.

    Raises:
        ConfigurationError: the comparison has no row without a context.
    """
    without = comparison.without.evaluation
    gains = comparison.own.differences(without)
    order = np.argsort(-gains, kind="stable")
    wins = [place for place in order.tolist() if gains[place] > _EQUAL]
    losses = [place for place in order[::-1].tolist() if gains[place] < -_EQUAL]
    texts = dict(zip(data.ids, data.texts, strict=True))
    known = terms if comparison.rows[0].mode in ("hybrid", "lexical") else None

    def shown(places: list[int]) -> tuple[QueryChange, ...]:
        return tuple(_change(place, data, texts, (comparison.own, without), known) for place in places[:SHOWN])

    return QueryChanges(shown(wins), shown(losses), len(wins), len(losses), len(gains) - len(wins) - len(losses))


def _change(
    place: int,
    data: RetrievalDataset,
    texts: dict[str, str],
    evaluations: tuple[Evaluation, Evaluation],
    terms: TermStatistics | None,
) -> QueryChange:
    query = evaluations[0].queries[place]
    grades = {document: grade for document, grade in data.judged.relevant[query].items() if grade > 0}
    answers = sorted(grades, key=lambda document: -grades[document])
    first_answers = tuple(texts[document] for document in answers[:_ANSWERS])
    own, without = (_search(evaluation, place, texts, set(answers)) for evaluation in evaluations)
    change = QueryChange(data.judged.queries[query], first_answers, len(answers) - len(first_answers), own, without)
    own_best, without_best = (evaluation.best[place] for evaluation in evaluations)
    better, worse = (own_best, without_best) if change.gain > 0 else (without_best, own_best)
    pair = _exchanged(better, worse, set(answers))
    if terms is None or pair is None:
        return change
    favoured, other = pair if change.gain > 0 else reversed(pair)
    return replace(change, words=deciding_words(change.query, texts[favoured], texts[other], terms))


def _search(evaluation: Evaluation, place: int, texts: dict[str, str], answers: set[str]) -> Search:
    value, best = float(evaluation.values[MAIN][place]), evaluation.best[place]
    return Search(value, texts[best[0]], best[0] in answers) if best else Search(value, None, False)


def _exchanged(better: tuple[str, ...], worse: tuple[str, ...], answers: set[str]) -> tuple[str, str] | None:
    """Find two documents that changed places: the first answer with one below it that the worse search puts above it.

    Args:
        better: best documents of the search that did better, best first.
        worse: those of the other one; a document that is not there is below all that are.
        answers: the documents that are right.

    Returns:
        The answer and the wrong document; None if no two changed places.
    """
    for place, document in enumerate(better):
        if document in answers:
            above = worse[: worse.index(document)] if document in worse else worse
            for other in above:
                if other not in answers and other not in better[:place]:
                    return document, other
    return None
