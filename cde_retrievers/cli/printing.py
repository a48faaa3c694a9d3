"""Texts and names written in printable characters, so that none can control the terminal."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from typer.core import TyperGroup

# Not seen themselves, and part of words in some scripts: joiners, soft hyphen, marks of direction that turn nothing.
_WITHIN_WORDS = "\u200c\u200d\u00ad\u200e\u200f\u061c"


def printable(text: str) -> str:
    """Return the text with escapes for invisible characters that have an effect, such as ESC."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t" or character in _WITHIN_WORDS:
        return character
    return " " if character.isspace() else _escaped(character)


def printable_json(data: Mapping[str, Any], encoding: str | None = None) -> str:
    """Return the data as one line of JSON; reading it back gives exactly the same.

    Args:
        data: values of JSON.
        encoding: of the stream that it is written to; None for one that can hold every character.
    """
    text = json.dumps(data, ensure_ascii=False)
    if text.isprintable() and _can_hold(encoding, text):
        return text
    return "".join(
        character if character.isprintable() and _can_hold(encoding, character) else json.dumps(character)[1:-1]
        for character in text
    )


def _can_hold(encoding: str | None, text: str) -> bool:
    try:
        return encoding is None or isinstance(text.encode(encoding), bytes)
    except UnicodeEncodeError:
        return False


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class Printable:
    """Anything that rich shows, with the texts in it printable; its styles stay.

    Args:
        shown: a text, a table or another renderable.
    """

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._shown, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class PrintableErrors(TyperGroup):
    """A group of commands whose usage errors quote the arguments in printable characters."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Call the base class, and make its errors printable."""
        with _printable_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Call the base class, and make its errors printable."""
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = printable(message) + _way_out(error)  # type: ignore[attr-defined]
        raise


def _way_out(error: Exception) -> str:
    """Return what to add to a usage error: whoever searches for an option of another program has not misspelt one."""
    command = getattr(getattr(error, "ctx", None), "info_name", None)
    # By its attributes: which module has the class depends on the release of typer.
    is_unknown_option = hasattr(error, "option_name") and hasattr(error, "possibilities")
    if not is_unknown_option or command != "search":
        return ""
    return ". If it begins the query: quote the query, and put it last, after --, as in: search INDEX -- '-x is set'"
