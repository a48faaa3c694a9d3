"""Queries from where they come: the command line, standard input, or a person who types them."""

import sys
from collections.abc import Iterator
from contextlib import suppress

from typer import BadParameter

from cde_retrievers.cli.session import is_terminal
from cde_retrievers.errors import InvalidTextError
from cde_retrievers.util.counted import counted

STDIN = "-"
_PROMPT = "query> "


def checked_query(query: str | None) -> str | None:
    """Return the query of the command line; None if it is to be read from standard input.

    Raises:
        BadParameter: it is empty.
    """
    if query is None or query == STDIN:
        return None
    if not query.strip():
        raise BadParameter("the query is empty; say what you look for", param_hint="QUERY")
    return _as_utf8(query)


def _as_utf8(text: str) -> str:
    """Return the text that bytes were meant as which Python could not decode in a locale such as "C"."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text  # the search says what is wrong with it


def are_typed(query: str | None) -> bool:
    """Whether a person at a terminal is to be asked for queries."""
    return query is None and is_terminal(sys.stdin)


def typed_queries() -> Iterator[str]:
    """Ask for queries until a line is empty or there are no more."""
    with suppress(ImportError):  # not on Windows
        import readline  # noqa: F401 - `input` then knows arrow keys and earlier lines
    while True:
        try:
            query = input(_asked())
        except EOFError:
            sys.stderr.write("\n")
            return
        if not query.strip():
            return
        yield query


def _asked() -> str:
    """Return the prompt for `input`; if what is found goes elsewhere, ask on stderr."""
    if is_terminal(sys.stdout):
        return _PROMPT
    sys.stderr.write(_PROMPT)
    sys.stderr.flush()
    return ""


def piped_queries() -> Iterator[str]:
    """Yield the lines of standard input that are not empty.

    Raises:
        BadParameter: there are none.
        InvalidTextError: they are not text.
    """
    lines = 0
    try:
        for line in sys.stdin or ():
            if query := _as_utf8(line).removeprefix("\ufeff").strip():
                lines += 1
                yield query
    except UnicodeDecodeError as error:
        raise InvalidTextError(
            f"standard input is not valid {error.encoding} after {counted(lines, 'query')}; convert it, or name its "
            f"encoding in the environment variable PYTHONIOENCODING"
        ) from error
    if not lines:
        raise BadParameter("give one, or queries on standard input, one a line", param_hint="QUERY")
