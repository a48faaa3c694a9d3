"""Progress of long work: a bar in terminals, and elsewhere a line of the log about every minute."""

import logging
import time
from types import TracebackType
from typing import Any, Protocol, Self

logger = logging.getLogger(__name__)

_LONG_WORK = 1_000  # items from which a bar is worth its line
_PATIENCE = 3.0  # seconds after which a bar is worth it for fewer
_BETWEEN_LINES = 60.0  # seconds


class Progress(Protocol):
    """What is told how far work is: a bar of tqdm, or `LoggedProgress`."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any: ...

    def update(self, n: int = 1) -> Any:
        """Count `n` items as done."""


def progress_bar(
    total: int | None, show_progress: bool | None, task: str = "Embedding", unit: str = "text", *, at_once: bool = False
) -> Progress:
    """Return a progress bar over `total` items.

    Args:
        total: number of items; None if unknown.
        show_progress: True or False; None shows a bar for long work in a terminal, and logs lines without one.
        task: label of the bar.
        unit: name of one item.
        at_once: whether the work is known to be long, however few items there are.
    """
    if total == 1 and show_progress is None:
        return LoggedProgress(total, task, unit)  # a bar has nothing to show, and each query would wait for its making
    from tqdm.auto import tqdm

    is_long = at_once or total is None or total >= _LONG_WORK
    hidden = None if show_progress is None else not show_progress
    delay = 0.0 if is_long or show_progress else _PATIENCE
    bar = tqdm(total=total, desc=task, unit=unit, disable=hidden, delay=delay)
    return LoggedProgress(total, task, unit) if show_progress is None and bar.disable else bar


class LoggedProgress:
    """Progress as lines of the log, at level INFO, at most one a minute.

    Args:
        total: number of items; None if unknown.
        task: what is done.
        unit: name of one item.
    """

    def __init__(self, total: int | None, task: str, unit: str) -> None:
        self._total, self._task, self._unit = total, task, unit
        self._done = self._told = 0
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Count `n` items as done, and log a line if the last one is a minute old."""
        self._done += n
        passed = time.monotonic() - self._told_at
        if passed >= _BETWEEN_LINES:
            logger.info("%s: %s%s", self._task, self._counted(), self._estimated(passed))
            self._told, self._told_at = self._done, self._told_at + passed

    def _counted(self) -> str:
        of_all = "" if self._total is None else f" of {self._total:,}"
        return f"{self._done:,}{of_all} {self._unit}s"

    def _estimated(self, passed: float) -> str:
        """Say what is left, at the pace since the last line."""
        pace = (self._done - self._told) / passed
        if self._total is None or pace == 0 or self._done >= self._total:
            return ""
        minutes = (self._total - self._done) / pace / 60
        return f", about {max(1, round(minutes)):,} min left"
