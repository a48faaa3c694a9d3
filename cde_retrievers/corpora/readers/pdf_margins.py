"""What stands around the text of a PDF's pages: running heads and feet, page numbers, and dotted lines of contents."""

import re
from collections import Counter
from collections.abc import Iterator

_EDGE = 2  # lines at the top and at the bottom of a page
_FEWEST_PAGES = 3
_SHARE = 3  # a line without a page number is a running head if it stands on at least this part of the pages
_NUMBERED = 2  # numbers are those of pages if they are as far from the page's place on this part of the pages
_NUMBER = re.compile(r"\d{1,6}")
_PAGE_AT_END = re.compile(r"(?:\d{1,5}|[ivxlc]{1,8})\Z")
_DOTS = "...."

_Key = tuple[str, int | None]


def without_margins(pages: list[str]) -> list[str]:
    """Return the pages without lines that only say where one is: in the book, or where its chapters begin.

    Lines at the edges are left out if they have the page's number in the same place, on three pages at least. Those
    that stand on a third of all pages word for word are left out after the first of these pages.
    """
    lines = [page.split("\n") for page in pages]
    running = _running(lines)
    seen: set[_Key] = set()
    kept = []
    for number, page in enumerate(lines):
        left_out = set()
        for place in _edges(page):
            keys = {*_keys(page[place], number)} & running
            if any(key[1] is not None or key in seen for key in keys):
                left_out.add(place)
            seen |= keys
        kept.append("\n".join(x for at, x in enumerate(page) if at not in left_out and not _is_dotted(x)))
    return kept if any(page.strip() for page in kept) else pages


def _running(pages: list[list[str]]) -> set[_Key]:
    """Return what running heads and feet have in common."""
    counts: Counter[_Key] = Counter()
    numbers: Counter[int | None] = Counter()
    for number, page in enumerate(pages):
        keys = {key for place in _edges(page) for key in _keys(page[place], number)}
        counts.update(keys)
        numbers.update({offset for _, offset in keys})
    return {
        (text, offset)
        for (text, offset), count in counts.items()
        if count >= _FEWEST_PAGES
        and (count * _SHARE >= len(pages) if offset is None else numbers[offset] * _NUMBERED >= len(pages))
    }


def _edges(page: list[str]) -> list[int]:
    """Return the places of the first and the last lines with a text."""
    shown = [place for place, line in enumerate(page) if line.strip()]
    return sorted({*shown[:_EDGE], *shown[-_EDGE:]})


def _keys(line: str, page: int) -> Iterator[_Key]:
    """Yield what running heads have in common: the line itself, and how far each number in it is from the page's."""
    text = " ".join(line.split())
    yield text, None
    for found in _NUMBER.finditer(text[:200]):
        yield f"{text[: found.start()]}\0{text[found.end() :]}", int(found[0]) - page


def _is_dotted(line: str) -> bool:
    """Whether dots lead from a title to the number of its page."""
    text = line.rstrip()
    page = _PAGE_AT_END.search(text)
    return page is not None and text[: page.start()].replace(" ", "").endswith(_DOTS)
