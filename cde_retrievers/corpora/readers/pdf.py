"""PDF files as Markdown: the text of their pages, with the headings that their outline names."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from cde_retrievers.corpora.decoding import too_long
from cde_retrievers.util.imports import imported

_MARK = re.compile(r"^([ \t]*)(#|```|~~~|={3,}|-{3,})", re.MULTILINE)
_DEEPEST = 6


def pdf_as_markdown(file: BinaryIO, limit: int) -> str:
    """Return the text of all pages.

    Raises:
        MissingDependencyError: pypdf is not installed; names the extra.
        Exception: it is damaged or protected by a password, or its text is longer than `limit` characters.
    """
    reader = imported("pypdf", "reading PDF", extra="docs").PdfReader(file)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is protected by a password")
    headings = _headings(reader)
    pages, left = [], limit
    for number, page in enumerate(reader.pages):
        text = _MARK.sub(r"\1\\\2", page.extract_text())
        left -= len(text)
        if left < 0:
            raise too_long(file.name, limit)
        pages.append(_with_headings(text, headings.get(number, [])))
    return "\n\n".join(pages) + "\n"


def _headings(reader: Any) -> dict[int, list[tuple[int, str]]]:
    """Return the level and the title of every entry of the outline, by page."""
    found: dict[int, list[tuple[int, str]]] = {}
    for level, entry in _entries(reader.outline, 1):
        page = reader.get_destination_page_number(entry)
        title = " ".join(str(entry.title).split())
        if title and page is not None:
            found.setdefault(page, []).append((level, title))
    return found


def _entries(outline: list[Any], level: int) -> Iterator[tuple[int, Any]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _entries(entry, min(level + 1, _DEEPEST))
        else:
            yield level, entry


def _with_headings(text: str, headings: list[tuple[int, str]]) -> str:
    """Make headings of the lines that are titles; a title that no line is stands above the page."""
    lines = text.split("\n")
    places = {" ".join(line.split()): place for place, line in reversed(list(enumerate(lines)))}
    above = []
    for level, title in headings:
        heading = f"{'#' * level} {title}"
        place = places.get(title)
        if place is None:
            above.append(heading)
        else:
            lines[place] = f"\n{heading}\n"
    return "\n\n".join([*above, "\n".join(lines)])
