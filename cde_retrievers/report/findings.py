"""The findings of a report: figures, queries, and the documents of the context. Axes: D documents of the corpus."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from cde_retrievers.encoder.embedder import Embedder, fitted_context
from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.matrix import ContextMatrix
from cde_retrievers.evaluation.metrics import MAIN, Interval
from cde_retrievers.evaluation.pictures.scatter_plot import Projection
from cde_retrievers.evaluation.results import Evaluation
from cde_retrievers.validation.vectors import checked_embeddings, checked_width

_ON_MAP = 2_000  # documents besides those of the context: enough to see where the corpus lies


@dataclass(frozen=True, eq=False)
class MappedContext:
    """The documents of a corpus' own context, and their places among the others.

    Attributes:
        chosen: places of the context documents in the corpus, each once, in the order of the context.
        strategy: how they were chosen.
        seed: of the choice.
        projection: of the context documents, in that order, and of others after them.
    """

    chosen: tuple[int, ...]
    strategy: str
    seed: int
    projection: Projection

    @classmethod
    def of(cls, encoder: Embedder, data: RetrievalDataset, show_progress: bool | None = None) -> Self:
        """Fit the corpus' own context as `OwnContext()` does; embed its documents and at most 2,000 others under it.

        Args:
            encoder: the model.
            data: of D documents.
            show_progress: show a bar; None for long work only.
        """
        context = fitted_context(encoder, data.texts, show_progress=False)
        chosen = tuple(dict.fromkeys(context.positions))
        others = np.setdiff1d(np.arange(len(data.texts)), chosen)
        drawn = np.random.default_rng(0).permutation(others)[:_ON_MAP]
        shown = [data.texts[place] for place in (*chosen, *drawn)]
        answer = encoder.encode_documents(shown, context, show_progress)
        embeddings = checked_embeddings(answer, len(shown), checked_width(encoder.width))
        return cls(chosen, context.strategy, context.seed, Projection.of(embeddings))


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a page shows.

    Attributes:
        data: what was searched.
        comparison: of a model under several contexts, on `data`.
        context: the own one.
        matrix: of several corpora by several contexts, if there is one.
    """

    data: RetrievalDataset
    comparison: Comparison
    context: MappedContext
    matrix: ContextMatrix | None = None


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer, and what it rests on.

    Attributes:
        title: one sentence.
        detail: the figures.
        verdict: what the interval says.
    """

    title: str
    detail: str
    verdict: str


def headline(comparison: Comparison) -> Headline:
    """Return the gain of the corpus' own context over none.

    Raises:
        ConfigurationError: the comparison has no row without a context.
    """
    without = comparison.without
    gain = comparison.gain_over(without.label)
    title, verdict = _judged(gain)
    detail = (
        f"With a context fitted on the corpus itself, {comparison.model} has nDCG@10 "
        f"{points(comparison.own.mean().mean)}; with {without.label} it has {points(without.evaluation.mean().mean)}. "
        f"The difference is {signed(gain.mean)} points, with a 95\N{NO-BREAK SPACE}% interval from "
        f"{signed(gain.low)} to {signed(gain.high)}, over {len(comparison.own.queries):,} queries."
    )
    return Headline(title, detail, verdict)


def _judged(gain: Interval) -> tuple[str, str]:
    size = f"{points(abs(gain.mean))} points of nDCG@10"
    if gain.low == gain.high == 0:
        return "Its own context changes nothing for this corpus", "Every query scores the same with and without it."
    if not gain.excludes_zero:
        return (
            f"No clear effect of its own context on this corpus: {signed(gain.mean)} points, which may be chance",
            "The interval includes zero, so the difference is not significant: other queries of the kind could show "
            "the opposite. More queries would make the interval narrower.",
        )
    if gain.mean > 0:
        return (
            f"Its own context gains this corpus {size}",
            "The interval lies above zero: the gain is significant.",
        )
    return f"Its own context costs this corpus {size}", "The interval lies below zero: the loss is significant."


def points(value: float) -> str:
    """Return a measure, which is from 0 to 1, in points."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Return a difference of measures in points, with a typographic minus sign."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


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
    """Return the effect of the own context, query by query.

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
