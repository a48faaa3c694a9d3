"""One progress bar for one piece of work, only where somebody watches."""

from typing import Any

from tqdm.auto import tqdm

_LONG_WORK = 1_000  # items from which a bar is worth its line


def progress_bar(
    total: int | None, show_progress: bool | None, task: str = "Embedding", unit: str = "text"
) -> "tqdm[Any]":
    """A bar over `total` items, or over a number not known beforehand (None).

    Args:
        total: items to come.
        show_progress: True or False, or None for a bar only where the work is long and a terminal shows it.
        task: what is being done.
        unit: what an item is called.
    """
    is_long = total is None or total >= _LONG_WORK
    hidden = not show_progress if show_progress is not None else (None if is_long else True)
    return tqdm(total=total, desc=task, unit=unit, disable=hidden)
