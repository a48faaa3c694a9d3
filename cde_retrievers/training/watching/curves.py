"""Learning curves as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cde_retrievers.atomic import replace_bytes
from cde_retrievers.optional import imported

_PANELS = ("loss", "accuracy", "masked_share", "learning_rate")


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw one panel per figure over the steps, and one for all nDCG@10, into a PNG.

    Args:
        history: entries of a Trainer's log, each with its `step`.
        path: of the picture.

    Raises:
        MissingDependencyError: matplotlib is not installed; names the extra.
        WriteError: the disk is full, or `path` cannot be written to.
    """
    figure_module = imported("matplotlib.figure", "learning curves", extra="train")
    panels = [{name: _points(history, name)} for name in _PANELS]
    panels.append({name: _points(history, name) for name in _evaluations(history)})
    shown = [{name: points for name, points in panel.items() if points} for panel in panels]
    shown = [panel for panel in shown if panel]
    if not shown:
        return
    # A Figure of its own needs no window and leaves the caller's pyplot alone.
    figure = figure_module.Figure(figsize=(4.5 * len(shown), 3.5))
    figure.subplots_adjust(left=0.2 / len(shown), right=1 - 0.1 / len(shown), bottom=0.15, top=0.95, wspace=0.3)
    for axes, panel in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for name, points in panel.items():
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else "", label=name)
        axes.set_xlabel("step")
        axes.legend()
        axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    replace_bytes(path, content.getvalue())


def _points(history: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]


def _evaluations(history: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({name for entry in history for name in entry if name.endswith("ndcg@10")})
