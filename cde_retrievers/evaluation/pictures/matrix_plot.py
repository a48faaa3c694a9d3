"""Corpora by contexts as a heat map. Axes: S sets."""

from typing import TYPE_CHECKING

import numpy as np

from cde_retrievers.evaluation.metrics import MAIN, MEASURES
from cde_retrievers.evaluation.pictures.canvas import INK, WIDTH, finished, new_axes, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from cde_retrievers.evaluation.matrix import ContextMatrix

_LONGEST = 24
_PER_SET = 0.42  # inches
_DARK = 0.6  # share of the scale from which words on a cell are white


def heat_map(matrix: "ContextMatrix", measure: str = MAIN) -> "Figure":
    """Draw the gain of each corpus' context (column) on each corpus (row) over no context, in points (figure 7).

    Own contexts, the diagonal, have a frame. Orange loses and purple gains, which colour-blind people can tell apart.

    Args:
        matrix: of S sets.
        measure: what is shown.

    Raises:
        MissingDependencyError: matplotlib is not installed; names the extra.
    """
    gains = matrix.gains(measure)
    sets = len(gains)
    figure = new_figure(1.9 + _PER_SET * sets, max(WIDTH, 2.6 + _PER_SET * sets))
    axes = new_axes(figure)
    # Gain and loss of one size are equally strong, and nothing is white.
    most = float(np.abs(gains).max()) or 1.0
    image = axes.imshow(gains, cmap="PuOr", vmin=-most, vmax=most)
    for row, column in np.ndindex(gains.shape):
        colour = "white" if abs(gains[row, column]) > _DARK * most else "black"
        axes.annotate(
            _in_points(float(gains[row, column])), (column, row), ha="center", va="center", size=8, color=colour
        )
    _mark_own(axes, sets)
    names = [shortened(name, _LONGEST) for name in matrix.names]
    axes.set_xticks(range(sets), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(sets), names)
    axes.set_xlabel("context of")
    axes.set_ylabel("searched")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _add_scale(figure, axes, image, f"gain over no context, {MEASURES[measure]} in points")
    return finished(figure)


def _in_points(gain: float) -> str:
    return f"{gain:+.1f}".replace("-", "\N{MINUS SIGN}")


def _mark_own(axes: "Axes", sets: int) -> None:
    for place in range(sets):
        left, right = place - 0.46, place + 0.46
        axes.plot([left, right, right, left, left], [left, left, right, right, left], color="black", linewidth=1.8)


def _add_scale(figure: "Figure", axes: "Axes", image: "AxesImage", title: str) -> None:
    scale = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.03)
    scale.ax.tick_params(colors=INK, labelsize=8)
    scale.set_label(title, color=INK, size=8)
    scale.outline.set_visible(False)
