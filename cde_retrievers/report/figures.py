"""Pictures inside a page: without separate files, with alternative texts, in light and dark."""

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.matrix import ContextMatrix
from cde_retrievers.evaluation.pictures import bars, corpus_map, heat_map, size_curve
from cde_retrievers.evaluation.pictures.canvas import picture_bytes
from cde_retrievers.report.findings import Findings, MappedContext, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# The colours of the page's own text, see the style sheet.
LIGHT_INK, DARK_INK = "#1b1f24", "#e6e9ed"
_PIXELS_PER_INCH = 96  # of CSS


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a page holds it.

    Attributes:
        light: address with the picture itself in it, for a light page.
        dark: for a dark one.
        width: in pixels.
        height: in pixels.
        alt: what it shows, in words.
        caption: how to read it.
    """

    light: str
    dark: str
    width: int
    height: int
    alt: str
    caption: str

    @classmethod
    def of(cls, figure: "Figure", alt: str, caption: str) -> "Picture":
        """Return a figure of `cde_retrievers.evaluation.pictures` with its words."""
        width, height = (round(inches * _PIXELS_PER_INCH) for inches in figure.get_size_inches())
        return cls(_address(figure, LIGHT_INK), _address(figure, DARK_INK), width, height, alt, caption)


def figures_of(findings: Findings) -> list[Picture]:
    """Return the pictures about figures: bars, and what else there are rows for."""
    pictures = [_bars(findings.comparison)]
    if len(list(findings.comparison.of("size"))) > 1:
        pictures.append(_curve(findings.comparison))
    if findings.matrix is not None:
        pictures.append(_heat_map(findings.matrix))
    return pictures


def map_of(context: MappedContext) -> Picture:
    """Return a picture of the corpus with its context."""
    shown, chosen = len(context.projection.points), len(context.chosen)
    return Picture.of(
        corpus_map(context.projection, range(chosen)),
        f"Map of {shown:,} documents, {chosen:,} of which are those of the context; they are listed below.",
        "Each mark is a document; those that mean much the same to the model lie close together. The two directions "
        "are those in which the embeddings differ most, and show a part of the differences only. Numbers are those of "
        "the list, where there is room for them.",
    )


def _bars(comparison: Comparison) -> Picture:
    means = ", ".join(f"{row.label} {points(row.evaluation.mean().mean)}" for row in comparison.rows)
    return Picture.of(
        bars(comparison),
        f"Bars of nDCG@10 in points: {means}.",
        "Lines are the 95 % interval of each mean by itself. The rows answer the same queries, so differences between "
        "them are surer than these lines suggest: see the last column of the table.",
    )


def _curve(comparison: Comparison) -> Picture:
    rows = sorted(comparison.of("size"), key=lambda row: row.size or 0)
    means = ", ".join(f"{points(row.evaluation.mean().mean)} with {row.size}" for row in rows)
    return Picture.of(
        size_curve(comparison),
        f"Curve of nDCG@10 in points over the number of context documents: {means}.",
        "How many documents the context is made of. The band is the 95 % interval of each mean.",
    )


def _heat_map(matrix: ContextMatrix) -> Picture:
    wins = matrix.own_wins()
    return Picture.of(
        heat_map(matrix),
        f"Heat map of {len(matrix.names)} corpora by {len(matrix.names)} contexts; the own context is better than the "
        f"mean of the others on {len(wins)}: {', '.join(wins) or 'none'}.",
        "Each row is a corpus that is searched, each column the corpus whose context is used. Framed: a corpus with "
        "its own context.",
    )


def _address(figure: "Figure", ink: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(picture_bytes(figure, 'svg', ink)).decode('ascii')}"
