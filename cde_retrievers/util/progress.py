"""Progress bars for long work, shown in terminals only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm

_LONG_WORK = 1_000  # items from which a bar is worth its line


def progress_bar(
    total: int | None, show_progress: bool | None, task: str = "Embedding", unit: str = "text"
) -> "tqdm[Any]":
    """Return a progress bar over `total` items.

    Args:
        total: number of items; None if unknown.
        show_progress: True or False; None shows a bar for long work in a terminal only.
        task: label of the bar.
        unit: name of one item.
    """
    from tqdm.auto import tqdm

    is_long = total is None or total >= _LONG_WORK
    hidden = not show_progress if show_progress is not None else (None if is_long else True)
    return tqdm(total=total, desc=task, unit=unit, disable=hidden)
