"""What a page shows beside its text: menus, links to neighbouring pages, tables of contents, indexes, slogans."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_ROLES = ("navigation", "search", "contentinfo", "doc-toc", "doc-index", "doc-pagelist")
# As DocBook, Sphinx, Docutils, Texinfo and Pandoc call them, and other generators after them.
_CLASSES = (
    *("navheader", "navfooter", "related", "sphinxsidebar", "toctree-wrapper", "indextable", "indexdiv", "toc"),
    *("nav-panel", "breadcrumb", "breadcrumbs", "footer", "site-footer", "tagline", "slogan", "site-description"),
    "longdesc-link",
)
_CHROME = ", ".join(
    (
        *(f'[role="{role}"]' for role in _ROLES),
        *(f"{tag}.{name}" for name in _CLASSES for tag in ("div", "section", "table", "ul", "ol", "dl", "p")),
        "div#toc, div#TOC, div#footer",
        *(rf'[epub\:type~="{kind}"]' for kind in ("toc", "index", "landmarks", "page-list")),
    )
)
_NEIGHBOURS = ", ".join(f'a[rel~="{rel}"]' for rel in ("prev", "previous", "next", "up", "contents"))
# Whose title is of the box alone, not of what comes behind it.
_BOXES = ", ".join(
    f".{kind} > h{level}" for kind in ("note", "tip", "warning", "caution", "important") for level in range(1, 7)
)
_BARS = {"p", "table", "ul", "ol"}
_LONGEST_BAR = 300  # characters
_SKIP = re.compile(r"\s*(?:skip|jump|go) to\b", re.IGNORECASE)
_LAST_CHANGED = re.compile(
    r"(?:this (?:page|document|file|article|manual)\s(?:was\s|has been\s)?)?(?:page\s)?"
    r"last (?:modified|updated|changed|edited|revised|generated)\b(?=.*\b(?:19|20)\d\d\b).{0,120}",
    re.IGNORECASE | re.DOTALL,
)


def chrome_of(root: LexborNode) -> set[int]:
    """Return the elements below a page's main part that are not its text, by `mem_id`."""
    bars = map(_bar, root.css(_NEIGHBOURS))
    skipping = (link for link in root.css('a[href^="#"]') if _SKIP.match(link.text(deep=True)))
    return {node.mem_id for node in (*root.css(_CHROME), *bars, *skipping)} - {root.mem_id}


def is_stamp(text: str) -> bool:
    """Whether a paragraph only says when the page was changed."""
    return _LAST_CHANGED.fullmatch(text) is not None


def box_titles(root: LexborNode) -> set[int]:
    """Return the headings of notes and warnings, by `mem_id`."""
    return {node.mem_id for node in root.css(_BOXES)}


def _bar(link: Any) -> Any:
    """Return the row of links that a link to a neighbouring page stands in, or the link alone."""
    node = link
    while node is not None and node.tag not in _BARS:
        node = node.parent
    return link if node is None or len(node.text(deep=True).strip()) > _LONGEST_BAR else node
