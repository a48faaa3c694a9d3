"""HTML as Markdown: headings, paragraphs, lists, tables and code of the page's main part; no tags, menus or scripts."""

from __future__ import annotations

import re
from typing import Any

from cde_retrievers.corpora.readers.html_chrome import chrome_of
from cde_retrievers.corpora.readers.html_links import link_lists, linked_headings, mastheads
from cde_retrievers.corpora.readers.html_page import PageWriter
from cde_retrievers.corpora.readers.html_shown import hidden_nodes
from cde_retrievers.corpora.readers.html_title import page_title, site_names, titled
from cde_retrievers.util.imports import imported

_MAIN = ("main", '[role="main"]', "article", "body")
_DEEPEST = 5_000  # elements in each other: a parser takes the square of that in time
# Of elements that must be closed; a page may leave most others open.
_NESTING = re.compile(
    r"<(/?)(?:div|span|section|article|ul|ol|dl|table|blockquote|pre|b|i|em|strong|font|a|code)\b", re.IGNORECASE
)


def html_as_markdown(html: str) -> str:
    """Return what a page shows as Markdown, with `literal` texts; its title stands above if no heading says it.

    Raises:
        MissingDependencyError: selectolax is not installed; names the extra.
        ValueError: its elements are nested too deeply.
    """
    _check_depth(html)
    parser = imported("selectolax.lexbor", "reading HTML", extra="docs").LexborHTMLParser
    page = parser(html)
    title = page_title(page)
    node = next((found for name in _MAIN if (found := page.css_first(name)) is not None and found.text().strip()), None)
    shown = PageWriter(set()) if node is None else _shown(node, title)
    blocks = titled(shown.blocks, shown.headings, title, site_names(page))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _shown(node: Any, title: str) -> PageWriter:
    """Read a page's main part; its lists of links are all that it has if there is nothing else, not even a title."""
    chrome = (hidden_nodes(node) | chrome_of(node) | linked_headings(node)) - {node.mem_id}
    lists = link_lists(node, chrome) - {node.mem_id}
    shown = PageWriter(chrome | lists | mastheads(node, chrome | lists)).read(node)
    return shown if shown.blocks or title else PageWriter(chrome).read(node)


def _check_depth(html: str) -> None:
    depth = 0
    for tag in _NESTING.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > _DEEPEST:
            raise ValueError(f"its elements are nested more than {_DEEPEST:,} levels deep")
