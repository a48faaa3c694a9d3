"""The map of a corpus: documents as points, with labels that do not overlap. Axes: n points, m labels; in pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.pictures.canvas import GREY, INK, ORANGE, add_legend, finished, new_axes, new_figure
from cde_retrievers.util.imports import imported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Pixels = NDArray[np.float64]

# Where a label's middle may be, seen from its point: right, left, above, below, and between these.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def placed_labels(points: Pixels, sizes: Pixels, bounds: Pixels, radius: float) -> dict[int, Pixels]:
    """Return the middle (2,) of each label that finds room, by its point's place; the first ones choose first.

    Args:
        points: (n, 2).
        sizes: widths and heights of their labels (m, 2); points after the first m have none.
        bounds: left, bottom, right and top of the picture (4,).
        radius: of the mark on each point, which no label covers.
    """
    marks = np.hstack([points - radius, points + radius])
    taken = np.empty((0, 4))
    middles: dict[int, Pixels] = {}
    for place, (point, size) in enumerate(zip(points[: len(sizes)], sizes, strict=True)):
        others = np.vstack([np.delete(marks, place, axis=0), taken])
        for middle in _candidates(point, size, radius):
            box = np.concatenate([middle - size / 2, middle + size / 2])
            if _is_within(box, bounds) and not _overlaps(box, others):
                middles[place], taken = middle, np.vstack([taken, box])
                break
    return middles


def _candidates(point: Pixels, size: Pixels, radius: float) -> Iterator[Pixels]:
    for side in _SIDES:
        yield point + np.array(side) * (size / 2 + radius)


def _is_within(box: Pixels, bounds: Pixels) -> bool:
    return bool((box[:2] >= bounds[:2]).all() and (box[2:] <= bounds[2:]).all())


def _overlaps(box: Pixels, others: Pixels) -> bool:
    return bool(((box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])).all(axis=1).any())


@dataclass(frozen=True, eq=False)
class Projection:
    """Documents in the plane in which their embeddings differ most: their two first principal components.

    Attributes:
        points: (n, 2), with mean 0.
        shares: of the variance, along each of the two.
    """

    points: NDArray[np.float64]
    shares: tuple[float, float]

    @classmethod
    def of(cls, embeddings: NDArray[np.float32]) -> "Projection":
        """Project embeddings (n, W).

        Raises:
            ConfigurationError: they are not at least two rows of at least two numbers.
        """
        if embeddings.ndim != 2 or min(embeddings.shape) < 2:
            raise ConfigurationError(
                f"a map needs at least two embeddings of at least two numbers, found shape {embeddings.shape}; give "
                f"the output of encode_documents"
            )
        centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
        first = directions[:2]
        # A direction is as good as its opposite; this choice makes the map the same on every machine.
        first = first * np.sign(first[np.arange(2), np.abs(first).argmax(axis=1)])[:, None]
        shares = lengths**2 / max(float((lengths**2).sum()), np.finfo(np.float64).tiny)
        return cls(centred @ first.T, (float(shares[0]), float(shares[1])))


NUMBERED = 40  # context documents; more numbers do not help
_HEIGHT = 4.0  # inches
_MANY = 1_000  # dots from which an SVG holds them as an image: as shapes they would fill megabytes
_MARK, _SMALL_MARK, _CROWD = 6.0, 4.0, 150  # points across, and context documents from which marks are small


def corpus_map(documents: Projection, context: Sequence[int]) -> "Figure":
    """Draw documents as dots, those of the context as diamonds, the first 40 of them numbered if there is room.

    Args:
        documents: n of them in a plane.
        context: places of the context documents among them, each once.

    Raises:
        ConfigurationError: a place is out of range, or comes twice.
        MissingDependencyError: matplotlib is not installed; names the extra.
    """
    points = documents.points
    if len(set(context)) < len(context) or not set(context) <= set(range(len(points))):
        raise ConfigurationError(f"context must hold distinct positions among {len(points)} documents, found {context}")
    figure = new_figure(_HEIGHT)
    axes = new_axes(figure)
    chosen, others = points[list(context)], points[np.setdiff1d(np.arange(len(points)), context)]
    mark = _MARK if len(context) < _CROWD else _SMALL_MARK
    _mark(axes, chosen, others, mark)
    _name_axes(axes, documents.shares)
    add_legend(axes)
    _number(figure, axes, chosen, mark)
    return finished(figure)


def _mark(axes: "Axes", chosen: Pixels, others: Pixels, size: float) -> None:
    if len(others):
        many = len(others) > _MANY
        x, y = others.T
        axes.scatter(x, y, 9, color=GREY, alpha=0.5, linewidth=0, rasterized=many, label="other documents")
    x, y = chosen.T
    axes.scatter(x, y, size**2, marker="D", color=ORANGE, edgecolor=INK, linewidth=0.5, label="context documents")


def _name_axes(axes: "Axes", shares: tuple[float, float]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06)
    axes.set_xlabel(f"1st principal component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"2nd principal component ({shares[1]:.0%})")


def _number(figure: "Figure", axes: "Axes", points: Pixels, mark: float) -> None:
    """Write 1, 2, 3 next to the points, where there is room."""
    canvas = imported("matplotlib.backends.backend_agg", "pictures", extra="eval").FigureCanvasAgg(figure)
    canvas.draw()  # only now it is known where on the picture a point lies
    figure.set_layout_engine("none")
    numbers = range(1, min(len(points), NUMBERED) + 1)
    labels = [figure.text(0, 0, str(number), size=8, color=INK, ha="center", va="center") for number in numbers]
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    sizes = np.array([[box.width, box.height] for box in boxes])
    radius = (mark * np.sqrt(2) / 2 + 1) * figure.dpi / 72  # half the diagonal of a diamond
    bounds = np.array(axes.bbox.extents)
    middles = placed_labels(axes.transData.transform(points), sizes.reshape(-1, 2), bounds, radius)
    for place, label in enumerate(labels):
        if place not in middles:
            label.remove()
            continue
        x, y = figure.transFigure.inverted().transform(middles[place])
        label.set_position((float(x), float(y)))
