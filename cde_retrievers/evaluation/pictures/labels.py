"""Labels beside points, none over another. Axes: n points, m labels; in pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]

# Where a label's middle may be, seen from its point: right, left, above, below, and between these.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def placed_labels(points: Pixels, sizes: Pixels, bounds: Pixels, radius: float) -> dict[int, Pixels]:
    """The middle (2,) of each label for which there is room, by its point's place; the first ones choose first.

    Args:
        points: (n, 2).
        sizes: widths and heights of their labels (m, 2); points behind the first m have none.
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
