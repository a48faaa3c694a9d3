"""Shares of one as points, in the cells of Markdown tables."""

from collections.abc import Iterable, Mapping


def cells(values: Iterable[float]) -> str:
    """Values side by side."""
    return " | ".join(f"{100 * value:.1f}" for value in values)


def interval(gain: Mapping[str, float], digits: int = 1) -> str:
    """A difference with its 95 % interval: "mean", "low" and "high"."""
    mean, low, high = (f"{100 * gain[name]:+.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
