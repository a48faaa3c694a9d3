"""A curve of quality over the number of context documents."""

from typing import TYPE_CHECKING

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.comparison import Comparison, Row
from cde_retrievers.evaluation.metrics import MAIN, MEASURES
from cde_retrievers.evaluation.pictures.canvas import (
    BLUE,
    INK,
    ORANGE,
    add_legend,
    finished,
    new_axes,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 3.0  # inches


def size_curve(comparison: Comparison, measure: str = MAIN) -> "Figure":
    """Draw a measure's mean against the number of context documents, with its 95 % interval as a band (figure 16).

    A dashed line says what the same model finds without a context.

    Args:
        comparison: with at least two rows of the group "size".
        measure: what is shown.

    Raises:
        ConfigurationError: there are fewer, or the measure is unknown.
        MissingDependencyError: matplotlib is not installed; names the extra.
    """
    rows = sorted(comparison.of("size"), key=_size)
    if len(rows) < 2:
        raise ConfigurationError(
            f"a curve over context sizes needs at least two of them, found {len(rows)}; "
            f"compare with sizes=[16, 64, 256]"
        )
    figure = new_figure(_HEIGHT)
    axes = new_axes(figure)
    _draw(axes, rows, measure)
    without = 100 * comparison.without.evaluation.mean(measure).mean
    axes.axhline(without, color=ORANGE, linestyle="--", linewidth=1.6, label=shortened(comparison.without.label))
    add_legend(axes)
    axes.set_xlabel("context documents")
    axes.set_ylabel(f"{MEASURES[measure]} of {shortened(comparison.own.data, 20)}, points")
    axes.grid(axis="y", color=INK, alpha=0.15)
    return finished(figure)


def _draw(axes: "Axes", rows: list[Row], measure: str) -> None:
    sizes = [_size(row) for row in rows]
    means = [row.evaluation.mean(measure) for row in rows]
    low, high = [100 * mean.low for mean in means], [100 * mean.high for mean in means]
    axes.fill_between(sizes, low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(
        sizes,
        [100 * mean.mean for mean in means],
        color=BLUE,
        marker="o",
        markersize=5,
        label="own context, 95 % interval",
    )
    # Equal steps for equal factors, as figure 16 has them.
    axes.set_xscale("log", base=2)
    axes.set_xticks(_apart(sizes), [f"{size:,}" for size in _apart(sizes)])
    axes.minorticks_off()


def _apart(sizes: list[int]) -> list[int]:
    """Return the sizes whose labels do not touch: each at least a seventh of the axis from the last one."""
    factor = (sizes[-1] / sizes[0]) ** (1 / 7)
    shown: list[int] = []
    for size in dict.fromkeys(sizes):
        if not shown or size >= shown[-1] * factor:
            shown.append(size)
    return shown


def _size(row: Row) -> int:
    if row.size is None:
        raise ConfigurationError(f"the row {row.label!r} compares context sizes but records none; compare again")
    return row.size
