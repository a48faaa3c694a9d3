"""Books in EPUB as Markdown, chapter by chapter in reading order."""

import posixpath
import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import unquote
from zipfile import ZipFile

from cde_retrievers.corpora.readers.archive import opened
from cde_retrievers.corpora.readers.html import html_as_markdown
from cde_retrievers.corpora.readers.html_encoding import decoded_page
from cde_retrievers.util.imports import imported

_CONTAINER = "META-INF/container.xml"
# What ends itself in XHTML would go on to the end of the page in HTML.
_SELF_CLOSED = re.compile(r"<(title|script|style|textarea|iframe|a|p|div|span|td|th|li)(\s[^<>]*)?/>", re.IGNORECASE)


def epub_as_markdown(file: BinaryIO, limit: int) -> str:
    """Return the chapters of a book.

    Raises:
        MissingDependencyError: selectolax is not installed; names the extra.
        Exception: it is damaged, or larger than `limit` bytes when unpacked.
    """
    imported("selectolax.lexbor", "reading EPUB", extra="docs")
    with opened(file, limit) as archive:
        chapters = [
            html_as_markdown(_SELF_CLOSED.sub(r"<\1\2></\1>", decoded_page(archive.read(name))))
            for name in _chapters(archive)
        ]
    return "\n\n".join(chapters)


def _chapters(archive: ZipFile) -> Iterator[str]:
    """Yield the names of the chapters in the archive, in reading order, without the table of contents."""
    package = next(node["full-path"] for node in _elements(archive, _CONTAINER, "rootfile"))
    items = _elements(archive, package, "item")
    files = {node["id"]: node["href"] for node in items}
    contents = {node["id"] for node in items if "nav" in (node.get("properties") or "").split()}
    for node in _elements(archive, package, "itemref"):
        if node["idref"] not in contents:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(files[node["idref"]])))


def _elements(archive: ZipFile, name: str, tag: str) -> list[dict[str, Any]]:
    """Return the attributes of the elements of a name; a parser of HTML expands no entities of XML's."""
    parser = imported("selectolax.lexbor", "reading EPUB", extra="docs").LexborHTMLParser
    page = parser(decoded_page(archive.read(name)))
    return [dict(node.attributes) for node in page.root.traverse() if node.tag.rpartition(":")[2] == tag]
