"""Headings of Markdown bound to the text behind them, for splitters that cut between any two lines.

What is between a heading and its text stands for itself in noncharacters of Unicode, at which no splitter cuts.
"""

import re
from collections.abc import Callable

from cde_retrievers.corpora.markdown import heading_lines

_STAND_INS = {" ": "\ufde8", "\n": "\ufde9", "\r": "\ufdea", "\t": "\ufdeb"}
_TO_STAND_INS = str.maketrans(_STAND_INS)
_TO_SPACES = str.maketrans({stand_in: space for space, stand_in in _STAND_INS.items()})
_LINE_END = re.compile(r"\r\n|\r|\n")
_MARK = re.compile(r"[ \t]*(?:#{1,6}[ \t]+)?")  # is what other separators look for
_SPACE = re.compile(r"\s*")


def bound(text: str, limit: int, size: Callable[[str], int]) -> str:
    """Return the text with its headings bound to what comes behind them.

    Args:
        text: Markdown, or any other text.
        limit: the largest size of headings in a row; those before them stay as they are.
        size: measures a text.
    """
    if any(stand_in in text for stand_in in _STAND_INS.values()):
        return text
    begins = [0, *(end.end() for end in _LINE_END.finditer(text)), len(text)]
    kept: list[str] = []
    behind, size_behind, end = -1, 0, len(text)
    for first, last in reversed(heading_lines(text)):
        begin, stop = begins[first], begins[min(last, len(begins) - 1)]
        space = _SPACE.match(text, stop)
        stop = space.end() if space else stop
        length = size(text[begin:stop]) + (size_behind if stop == behind else 0)
        if stop == len(text) or length > limit:
            continue
        mark = _MARK.match(text, begin)
        inner = mark.end() if mark else begin
        kept += [text[stop:end], text[inner:stop].translate(_TO_STAND_INS)]
        behind, size_behind, end = begin, length, inner
    return "".join((text[:end], *reversed(kept)))


def unbound(text: str) -> str:
    """Return a text as it was before `bound`."""
    return text.translate(_TO_SPACES)
