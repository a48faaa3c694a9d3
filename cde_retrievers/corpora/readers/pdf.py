"""PDF files as Markdown: the text of their pages, with the headings that their outline names."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from cde_retrievers.corpora.decoding import too_long
from cde_retrievers.corpora.readers.pdf_headings import with_headings
from cde_retrievers.corpora.readers.pdf_margins import without_margins
from cde_retrievers.corpora.readers.pdf_spaces import UsualSpaces
from cde_retrievers.util.imports import imported

_DEEPEST = 6


def pdf_as_markdown(file: BinaryIO, limit: int) -> str:
    """Return the text of all pages, `literal`, without running heads, page numbers and dotted lines of contents.

    Raises:
        MissingDependencyError: pypdf is not installed; names the extra.
        Exception: it is damaged or protected by a password, or its text is longer than `limit` characters.
    """
    reader = imported("pypdf", "reading PDF", extra="docs").PdfReader(file)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is protected by a password")
    pages, left, spaces = [], limit, UsualSpaces()
    for page in reader.pages:
        spaces.give(page)
        text = page.extract_text()
        left -= len(text)
        if left < 0:
            raise too_long(file.name, limit)
        pages.append(text)
    headings = _headings(reader)
    shown = enumerate(without_margins(pages, reader.page_labels))
    return "\n\n".join(with_headings(text, headings.get(number, [])) for number, text in shown) + "\n"


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
