"""The rows of a comparison as bars."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cde_retrievers.evaluation.comparison import Comparison, Group
from cde_retrievers.evaluation.metrics import MAIN, MEASURES
from cde_retrievers.evaluation.pictures.canvas import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    finished,
    new_axes,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Mapping[Group, str] = {"context": SKY, "strategy": GREEN, "seed": GREEN, "size": PURPLE, "other": ORANGE}
OWN = BLUE
_PER_ROW, _AROUND = 0.44, 0.55  # inches


def bars(comparison: Comparison, measure: str = MAIN) -> "Figure":
    """Draw one bar per row: a measure's mean in points, with its 95 % interval.

    Each interval is that row's own. Whether two rows differ is for the paired one to say, which is narrower: see
    `Comparison.gain_over`.

    Args:
        comparison: of any number of rows.
        measure: what is shown.

    Raises:
        ConfigurationError: the measure is unknown.
        MissingDependencyError: matplotlib is not installed; names the extra.
    """
    means = [row.evaluation.mean(measure) for row in comparison.rows]
    figure = new_figure(_AROUND + _PER_ROW * len(means))
    axes = new_axes(figure)
    for place, (row, mean) in enumerate(zip(comparison.rows, means, strict=True)):
        middle, low, high = 100 * mean.mean, 100 * mean.low, 100 * mean.high
        axes.barh(place, middle, 0.4, color=OWN if row is comparison.rows[0] else COLOURS[row.group])
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color=INK, linewidth=1.2, capsize=3)
        axes.annotate(
            f"{middle:.1f}", (high, place), (5, 0), textcoords="offset points", va="center", size=9, color=INK
        )
        # Above its bar, not next to it, a label has the whole width.
        axes.annotate(
            shortened(row.label), (0, place - 0.26), (3, 0), textcoords="offset points", va="bottom", size=9, color=INK
        )
    axes.set_xlim(0, 1.14 * max(100 * mean.high for mean in means) or 1)
    axes.set_ylim(len(means) - 0.6, -0.85)
    axes.set_yticks([])
    axes.set_xlabel(f"{MEASURES[measure]} of {shortened(comparison.own.data, 20)} in points, 95 % intervals")
    return finished(figure)
