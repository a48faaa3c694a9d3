"""Texts that are longer than a model reads: counted over a whole call, and told once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

logger = logging.getLogger(__name__)


class CutTexts:
    """How many texts were embedded, and how many of them were cut; safe to use from several threads.

    Attributes:
        texts: all texts so far.
        cut: those of them whose end the model did not read.
        max_length: tokens that the model reads.
    """

    def __init__(self) -> None:
        self.texts = 0
        self.cut = 0
        self.max_length = 0
        self._lock = Lock()

    def add(self, texts: int, cut: int, max_length: int) -> None:
        """Count further texts, some of them cut at `max_length` tokens."""
        with self._lock:
            self.texts += texts
            self.cut += cut
            self.max_length = max_length


# One for each thread and task, and set within a `with` only: a call deep inside adds to the count of the outermost one.
_counting: ContextVar[CutTexts | None] = ContextVar("counting", default=None)


@contextmanager
def counted_cut_texts() -> Iterator[CutTexts]:
    """Count the texts of the block, and log nothing: that is left to the caller."""
    counted = CutTexts()
    token = _counting.set(counted)
    try:
        yield counted
    finally:
        _counting.reset(token)


@contextmanager
def cut_texts_told_once() -> Iterator[CutTexts]:
    """Log how many texts of the block were cut, when it ends; within another such block, leave that to it."""
    outer = _counting.get()
    if outer is not None:
        yield outer
        return
    with counted_cut_texts() as counted:
        try:
            yield counted
        finally:
            if counted.cut:
                logger.warning(
                    "%d of %d texts are longer than %d tokens and were cut; split long texts before they are embedded, "
                    "or use a model that reads longer ones",
                    counted.cut,
                    counted.texts,
                    counted.max_length,
                )
