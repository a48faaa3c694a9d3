"""What a comparison comes to, in plain words."""

from dataclasses import dataclass

from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.intervals import Interval


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
    """What the corpus' own context gains over none.

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
    """A measure, which is from 0 to 1, in points."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference of measures in points, with the sign that typography has for it."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
