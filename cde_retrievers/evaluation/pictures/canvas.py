"""The shared canvas of all pictures: width, colours, and writing to a file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.storage.atomic import checked_file, replace_bytes
from cde_retrievers.util.imports import imported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# So narrow that on a telephone, where a picture is as wide as the screen, its words are hardly smaller.
WIDTH = 4.4
INK = "#1b1f24"
# Colours that colour-blind people can tell apart (Okabe and Ito, 2008), and that stand out on white and on black.
BLUE, SKY, GREEN, PURPLE, ORANGE, GREY = "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#8b929b"
_DOTS_PER_INCH = 150
_LONGEST = 54  # characters that fit into one line


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """Return an empty figure whose parts make room for each other.

    Args:
        height: in inches.
        width: in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed; names the extra.
    """
    # A Figure of its own needs no window and leaves the caller's pyplot alone.
    figure: Figure = imported("matplotlib.figure", "pictures", extra="eval").Figure(
        (width, height), layout="constrained"
    )
    return figure


def new_axes(figure: "Figure") -> "Axes":
    """Return axes in ink, independent of the user's own colour settings, with two of four sides."""
    axes = figure.subplots()
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set(visible=name in ("left", "bottom"), color=INK, linewidth=0.8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, size=9)
    return axes


def add_legend(axes: "Axes") -> None:
    """Add a legend in a line above the axes, where it covers nothing."""
    axes.legend(
        frameon=False, fontsize=8, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0
    )


def shortened(label: str, longest: int = _LONGEST) -> str:
    """Return a label that fits; of a longer one both ends, since names often differ at the end."""
    label = " ".join(label.split())
    if len(label) <= longest:
        return label
    head = (longest - 1) * 2 // 3
    return f"{label[:head].rstrip()}…{label[head + 1 - longest :].lstrip()}"


def finished(figure: "Figure") -> "Figure":
    """Return the figure with every word taken literally: a name with two dollar signs is not a formula."""
    text = imported("matplotlib.text", "pictures", extra="eval").Text
    for words in figure.findobj(text):
        words.set_parse_math(False)
    return figure


def picture_bytes(figure: "Figure", kind: Literal["png", "svg"], ink: str | None = None) -> bytes:
    """Return the figure as a file's content.

    Args:
        figure: of this package.
        kind: of file.
        ink: of an SVG that is to lie on a page's own background: the colour of its words and lines. On white if None.
    """
    content = io.BytesIO()
    ground = "white" if ink is None else "none"
    metadata = {"Date": None} if kind == "svg" else {}
    figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, facecolor=ground, edgecolor="none", metadata=metadata)
    written = content.getvalue()
    return written if ink is None else written.replace(INK.encode(), ink.encode())


def save_picture(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG or SVG, whole or not at all; an older file there is replaced.

    Args:
        figure: of this package.
        path: ends in .png or .svg.

    Raises:
        ConfigurationError: it ends otherwise, or is not a path.
        PathInUseError: something else than a file is there.
        WriteError: the disk is full, or `path` cannot be written to.
    """
    path = checked_file(path)
    kind = path.suffix.lower()
    if kind not in (".png", ".svg"):
        raise ConfigurationError(f"a picture's name must end in .png or .svg, found {path.name!r}; name it so")
    replace_bytes(path, picture_bytes(figure, "png" if kind == ".png" else "svg"))
