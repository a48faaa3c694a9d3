"""The findings of a report: figures, and the documents of the context. Axes: D documents of the corpus."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from cde_retrievers.encoder.embedder import Embedder, fitted_context
from cde_retrievers.evaluation.comparison import NO_CONTEXT, Comparison
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.enough_queries import are_too_few, enough
from cde_retrievers.evaluation.matrix import ContextMatrix
from cde_retrievers.evaluation.metrics import Interval
from cde_retrievers.evaluation.pictures.scatter_plot import Projection
from cde_retrievers.sparse import TermStatistics
from cde_retrievers.util.counted import counted
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
        terms: term statistics of the context; None if it has none.
    """

    chosen: tuple[int, ...]
    strategy: str
    seed: int
    projection: Projection
    terms: TermStatistics | None = None

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
        return cls(chosen, context.strategy, context.seed, Projection.of(embeddings), context.terms)


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


# What is judged, by the mode of the first row.
_SUBJECTS = {"hybrid": "hybrid search under its own context", "lexical": "search by words under its own context"}


_BASELINE = "dense vectors without context"


def headline(comparison: Comparison, caveat: str = "") -> Headline:
    """Return the gain of the first row over the model by vectors alone and without a context, and over fusion by hand.

    Args:
        comparison: of a model on one set.
        caveat: of the set, `RetrievalDataset.caveat`; title and verdict begin with it.

    Raises:
        ConfigurationError: the comparison has no row without a context.
    """
    first, without = comparison.rows[0], comparison.without
    gain = comparison.gain_over(without.label)
    judged = _judged(gain, _SUBJECTS.get(first.mode or "", "its own context"))
    title, verdict = (told + more for told, more in zip(judged, _over_fusion_by_hand(comparison), strict=True))
    detail = (
        f"{comparison.model} has nDCG@10 {points(comparison.own.mean().mean)} in the row “{first.label}”, and "
        f"{points(without.evaluation.mean().mean)} in “{without.label}”. The difference is {signed(gain.mean)} points, "
        f"with a 95\N{NO-BREAK SPACE}% interval from {signed(gain.low)} to {signed(gain.high)}, over "
        f"{counted(len(comparison.own.queries), 'query')}."
    )
    title, verdict = with_caveat(title, caveat), with_caveat(verdict, caveat)
    return Headline(title, f"{detail}{_part_of_vectors(comparison)}", verdict)


def _over_fusion_by_hand(comparison: Comparison) -> tuple[str, str]:
    """What title and verdict add about the rank fusion that people build by hand; empty if it was not evaluated."""
    row = comparison.by_hand
    if row is None or row is comparison.rows[0]:
        return "", ""
    gain = comparison.own.minus(row.evaluation)
    told = f"; over {row.label} {signed(gain.mean)} points ({signed(gain.low)} to {signed(gain.high)})"
    if are_too_few(gain):
        return told, ""
    return told, f" The difference to {row.label} is {'' if gain.is_significant else 'not '}significant."


def with_caveat(sentence: str, caveat: str) -> str:
    """Return a sentence that begins with the caveat, if there is one."""
    return f"{caveat[0].upper()}{caveat[1:]}, {sentence[0].lower()}{sentence[1:]}" if caveat else sentence


def _part_of_vectors(comparison: Comparison) -> str:
    """What the own context gains where words play no part; empty if that is the headline itself, or is not known."""
    if comparison.rows[0].mode == "dense":
        return ""
    for row in comparison.of("context"):
        if row.mode == "dense" and not row.label.startswith(NO_CONTEXT):
            gain = row.evaluation.minus(comparison.without.evaluation)
            return (
                f" By vectors alone the own context makes a difference of {signed(gain.mean)} points "
                f"({signed(gain.low)} to {signed(gain.high)})."
            )
    return ""


def _judged(gain: Interval, subject: str) -> tuple[str, str]:
    size, capital = f"{points(abs(gain.mean))} points of nDCG@10", subject[0].upper() + subject[1:]
    if are_too_few(gain):
        queries = "1 query is" if gain.count == 1 else f"{gain.count:,} queries are"
        return (
            f"{queries} too few to tell {subject} from {_BASELINE}: {signed(gain.mean)} points ({signed(gain.low)} to "
            f"{signed(gain.high)})",
            f"That is neither a difference nor a sign that there is none: the two score differently on "
            f"{gain.nonzero:,} of {gain.count:,}. About {enough(gain):,} queries of the kind would be enough.",
        )
    if gain.nonzero == 0:
        return (
            f"{capital} changes nothing for this corpus against {_BASELINE}",
            "Every query scores the same with both.",
        )
    if not gain.excludes_zero:
        return (
            f"No clear effect of {subject} on this corpus: {signed(gain.mean)} points over {_BASELINE}, which may be "
            f"chance",
            f"The interval includes zero, so the difference to {_BASELINE} is not significant: other queries of the "
            f"kind could show the opposite. About {enough(gain):,} queries would make the interval narrow enough.",
        )
    if gain.mean > 0:
        return (
            f"{capital} gains this corpus {size} over {_BASELINE}",
            f"The interval lies above zero: the gain over {_BASELINE} is significant.",
        )
    return (
        f"{capital} costs this corpus {size} against {_BASELINE}",
        f"The interval lies below zero: the loss against {_BASELINE} is significant.",
    )


def points(value: float) -> str:
    """Return a measure, which is from 0 to 1, in points."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Return a difference of measures in points, with a typographic minus sign."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
