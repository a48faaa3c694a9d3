"""What stands around the text of a PDF's pages: running heads and feet, page numbers, and dotted lines of contents."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_EDGE = 2  # lines at the top and at the bottom of a page
_FEWEST_PAGES = 3
_SHARE = 3  # a line without a page number is a running head if it stands on at least this part of the pages
_NUMBERED = 2  # numbers are those of pages if they are as far from the page's place on this part of the pages
_NUMBER = re.compile(r"\d{1,6}")
_BARE = re.compile(
    r"[-\u2013\u2014|\s]*(?:page\s+)?(\d{1,6}|[ivxlc]{1,8})(?:\s*(?:of|/)\s*\d+)?[-\u2013\u2014|\s]*", re.IGNORECASE
)
_ROMAN = re.compile(r"(c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})", re.IGNORECASE)
_ROMAN_DIGITS = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_PAGE_AT_END = re.compile(r"(?:\d{1,5}|[ivxlc]{1,8})\Z")
_LONGEST_BARE = 60
_LONGEST_HEAD = 200
_DOTS = "...."
_ALONE = "\0"  # of a line that is nothing but a number

_AT_EDGE = re.compile(r"\A(\d{1,6})\s|\s(\d{1,6})\Z")
_SHAPED = 8  # lines are running heads by their shape alone if at least this part of the pages has that shape

_Key = tuple[str, int | None]


def without_margins(pages: list[str], labels: Sequence[str] = ()) -> list[str]:
    """Return the pages without lines that only say where one is: in the book, or where its chapters begin.

    Lines at the edges are left out if they have the page's number in the same place, on three pages at least. So is a
    first or last line that begins or ends with it, as on an eighth of the pages, whatever else it says. Those
    that stand on a third of all pages word for word are left out after the first of these pages. A first or last line
    that is nothing but a number is left out if it is what the file calls the page, or goes up with three pages.

    Args:
        pages: their texts.
        labels: what the file calls each page; "1" for the first if nothing else is said.
    """
    lines = [page.split("\n") for page in pages]
    running, named = _running(lines), _named(lines, labels)
    shaped = _shaped(lines)
    seen: set[_Key] = set()
    kept = []
    for number, page in enumerate(lines):
        left_out = set()
        for place in _edges(page):
            keys = {*_keys(page[place], number)} & running
            if place in named.get(number, ()) or any(key[1] is not None or key in seen for key in keys):
                left_out.add(place)
            seen |= keys
        left_out |= shaped.get(number, set())
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
        and (
            count * _SHARE >= len(pages)
            if offset is None
            else text == _ALONE or numbers[offset] * _NUMBERED >= len(pages)
        )
    }


def _shaped(pages: list[list[str]]) -> dict[int, set[int]]:
    """Return by page the places of a first or last line with its number at one end, as many pages have it."""
    found: dict[tuple[bool, bool, int], dict[int, int]] = {}
    for number, page in enumerate(pages):
        edges = _edges(page)
        for is_last, place in enumerate((*edges[:1], *edges[-1:])):
            text = page[place].strip() if len(page[place]) <= _LONGEST_HEAD else ""
            for end in _AT_EDGE.finditer(text):
                shape = (bool(is_last), end[1] is None, int(end[1] or end[2]) - number)
                found.setdefault(shape, {})[number] = place
    numbered = Counter(offset for (_, _, offset), places in found.items() for _ in places)
    left_out: dict[int, set[int]] = {}
    for (_, _, offset), places in found.items():
        often = len(places) >= _FEWEST_PAGES and len(places) * _SHAPED >= len(pages)
        if often and numbered[offset] * _NUMBERED >= len(pages):
            for number, place in places.items():
                left_out.setdefault(number, set()).add(place)
    return left_out


def _named(pages: list[list[str]], labels: Sequence[str]) -> dict[int, set[int]]:
    """Return by page the places of a first or last line that is what the file calls the page; two pages have one."""
    found: dict[int, set[int]] = {}
    for number, (page, label) in enumerate(zip(pages, labels, strict=False)):
        edges = _edges(page)
        places = {place for place in (*edges[:1], *edges[-1:]) if _bare(page[place]) == label.casefold()}
        if label and places:
            found[number] = places
    return found if len(found) > 1 else {}


def _edges(page: list[str]) -> list[int]:
    """Return the places of the first and the last lines with a text."""
    shown = [place for place, line in enumerate(page) if line.strip()]
    return sorted({*shown[:_EDGE], *shown[-_EDGE:]})


def _keys(line: str, page: int) -> Iterator[_Key]:
    """Yield what running heads have in common: the line itself, and how far each number in it is from the page's."""
    text = " ".join(line.split())
    yield text, None
    if bare := _bare(text):
        yield _ALONE, (int(bare) if bare.isdigit() else _roman(bare)) - page
    for found in _NUMBER.finditer(text[:200]):
        yield f"{text[: found.start()]}\0{text[found.end() :]}", int(found[0]) - page


def _bare(line: str) -> str:
    """Return the number that a line consists of, as it is written; nothing for other lines."""
    found = _BARE.fullmatch(line[:_LONGEST_BARE])
    return found[1].casefold() if found and (found[1].isdigit() or _ROMAN.fullmatch(found[1])) else ""


def _roman(numeral: str) -> int:
    values = [_ROMAN_DIGITS[digit] for digit in numeral]
    return sum(-value if value < max(values[place:]) else value for place, value in enumerate(values))


def _is_dotted(line: str) -> bool:
    """Whether dots lead from a title to the number of its page."""
    text = line.rstrip()
    page = _PAGE_AT_END.search(text)
    return page is not None and text[: page.start()].replace(" ", "").endswith(_DOTS)
