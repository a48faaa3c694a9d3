"""What context gains on each set, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from cde_retrievers.evaluation.pictures.canvas import BLUE, INK, ORANGE, add_legend, finished, new_axes, new_figure

SERIES = (
    ("generic over plain", "context of no corpus", ORANGE, -0.14),
    ("minilm over plain", "the corpus' own context", BLUE, 0.14),
)


def gains_picture(sets: Sequence[Mapping[str, Any]]) -> Figure:
    """nDCG@10 over plain MiniLM in points, a line per set, the largest gain on top."""
    ordered = sorted(sets, key=lambda each: each["minilm over plain"]["mean"])
    figure = new_figure(0.9 + 0.36 * len(ordered), 5.6)
    axes = new_axes(figure)
    axes.axvline(0, color=INK, linewidth=0.8)
    for key, label, colour, shift in SERIES:
        gains = [{name: 100 * value for name, value in each[key].items()} for each in ordered]
        axes.errorbar(
            [gain["mean"] for gain in gains],
            [place + shift for place in range(len(gains))],
            xerr=[[g["mean"] - g["low"] for g in gains], [g["high"] - g["mean"] for g in gains]],
            fmt="o",
            color=colour,
            markersize=5,
            capsize=2,
            label=label,
        )
    axes.set_yticks(range(len(ordered)), [each["set"] for each in ordered])
    axes.set_xlabel("gain over plain MiniLM, nDCG@10 in points, 95 % intervals")
    add_legend(axes)
    return finished(figure)
