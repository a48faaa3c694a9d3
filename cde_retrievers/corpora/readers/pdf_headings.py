"""Where the titles that a PDF's outline names stand on a page, so that they become headings there."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from cde_retrievers.corpora.literal import literal

_MOST_LINES = 3  # of a title
_MOST_PLACES = 16  # of a title on a page
_LONGEST = 200  # characters of a title's line
_NUMBER = re.compile(
    r"(?:(?i:chapter|part|appendix|section)\s+)?(?:\d{1,4}|[A-Z]|[IVXLC]{1,8})(?:\.\d{1,4}){0,8}[.:]?\s+"
)
_COUNTED = re.compile(r"(?:chapter|part|appendix)\s+\w{1,12}", re.IGNORECASE)
_COUNTED_BELOW = re.compile(r"(?:chapter|part|appendix)\n\w{1,12}", re.IGNORECASE)
_SAME = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"", "-")  # quotation marks; and hyphens, which lines end with


class _Place(NamedTuple):
    """Lines that may be a title: the first, the one after the last, and the number that the title stands under."""

    start: int
    stop: int
    number: str


def with_headings(text: str, titles: Sequence[tuple[int, str]]) -> str:
    """Return the text of a page, `literal`, with headings in place of the lines that are titles.

    A title is found in whatever case and spaces its lines have, and under the number of its section, which the heading
    keeps. Lines above it that only count the chapter, such as "CHAPTER" and "ONE", are left out. A title that is not
    found stands above the next one that is, or at the end of the page; above the page where none before it is found.

    Args:
        text: the text of the page.
        titles: the level, from 1, and the title of each entry of the outline that leads to the page, in its order.
    """
    lines = text.split("\n")
    places = _places(lines) if titles else {}
    headings: dict[int, list[str]] = {}
    replaced: set[int] = set()
    above: list[str] = []
    waiting: list[str] = []
    after = 0
    for level, title in titles:
        place = _place(places, title, after, replaced)
        if place is None:
            (waiting if replaced else above).append(_heading(level, title))
            continue
        headings[place.start] = [*waiting, _heading(level, place.number + title)]
        replaced.update(range(place.start - _counting(lines, place.start), place.stop))
        waiting, after = [], place.stop
    shown = []
    for at, line in enumerate(literal(text).split("\n")):
        shown += [f"\n{heading}\n" for heading in headings.get(at, ())]
        shown += [] if at in replaced else [line]
    return "\n\n".join([*above, "\n".join(shown), *waiting])


def _heading(level: int, title: str) -> str:
    return f"{'#' * level} {literal(title)}"


def _places(lines: list[str]) -> dict[str, list[_Place]]:
    """Return by key which lines, alone and together with those after them, may be a title."""
    found: dict[str, list[_Place]] = {}
    for count in range(1, _MOST_LINES + 1):
        for start in range(len(lines) - count + 1):
            parts = lines[start : start + count]
            if all(0 < len(part.strip()) <= _LONGEST for part in parts):
                whole = " ".join(parts).strip()
                number = _NUMBER.match(whole)
                keys = {_key(whole): ""} | ({_key(whole[number.end() :]): _spaced(number[0])} if number else {})
                for key, prefix in keys.items():
                    listed = found.setdefault(key, [])
                    if len(listed) < _MOST_PLACES:
                        listed.append(_Place(start, start + count, prefix))
    return found


def _place(places: dict[str, list[_Place]], title: str, after: int, replaced: set[int]) -> _Place | None:
    """Return where the title stands: below the title before it, or else anywhere."""
    number = _NUMBER.match(title)
    free = [place for place in places.get(_key(title), []) if place.start not in replaced]
    if number and not free:
        bare = places.get(_key(title[number.end() :]), [])
        free = [place._replace(number="") for place in bare if place.start not in replaced]
    return next((place for place in free if place.start >= after), free[0] if free else None)


def _key(text: str) -> str:
    """Return what is the same in a title and in its lines."""
    return "".join(text.translate(_SAME).split()).casefold()


def _spaced(number: str) -> str:
    return f"{' '.join(number.split())} "


def _counting(lines: list[str], place: int) -> int:
    """Return how many lines above a title only count the chapter."""
    if place and _COUNTED.fullmatch(lines[place - 1].strip()):
        return 1
    return 2 if _COUNTED_BELOW.fullmatch("\n".join(line.strip() for line in lines[max(0, place - 2) : place])) else 0
