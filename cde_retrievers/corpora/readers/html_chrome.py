"""What a page shows beside its text: menus, links to neighbouring pages, tables of contents, indexes, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSHOWN = {
    *("head", "script", "style", "template", "noscript", "svg", "math", "iframe", "object", "nav", "footer", "form"),
    *("button", "select", "aside", "dialog"),
}
# Links that lead from a heading to itself.
_ANCHORS = re.compile(r"\b(headerlink|anchor(?:js)?(?:-link)?|permalink|hash-link|mark)\b")
_ANCHOR_SIGNS = {"\u00b6", "\u00a7", "#", "\U0001f517"}
_ROLES = ("navigation", "search", "contentinfo", "doc-toc", "doc-index", "doc-pagelist")
# As DocBook, Sphinx, Docutils, Texinfo and Pandoc call them, and other generators after them.
_CLASSES = (
    *("navheader", "navfooter", "related", "sphinxsidebar", "toctree-wrapper", "indextable", "indexdiv", "toc"),
    *("nav-panel", "breadcrumb", "breadcrumbs"),
)
_CHROME = ", ".join(
    (
        *(f'[role="{role}"]' for role in _ROLES),
        *(f"{tag}.{name}" for name in _CLASSES for tag in ("div", "section", "table", "ul", "ol", "dl", "p")),
        "div#toc, div#TOC",
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
_LISTS = {"ul", "ol", "dl", "table", "p"}
_NO_LETTER = re.compile(r"\W+")
_FEWEST_LINKS = 3
_LINKED = 0.9  # of its letters


def chrome_of(root: LexborNode) -> set[int]:
    """Return the elements below a page's main part that are not its text, by `mem_id`."""
    bars = map(_bar, root.css(_NEIGHBOURS))
    return {node.mem_id for node in (*root.css(_CHROME), *bars)} - {root.mem_id}


def box_titles(root: LexborNode) -> set[int]:
    """Return the headings of notes and warnings, by `mem_id`."""
    return {node.mem_id for node in root.css(_BOXES)}


def link_lists(root: LexborNode) -> set[int]:
    """Return what lists little but links within the site: titles that the pages have themselves; by `mem_id`."""
    found: set[int] = set()
    opened: list[tuple[int, int, int]] = []
    letters = linked = links = inside = 0
    for node, opens in shown_nodes(root, set()):
        if node.tag == "-text" or (node.tag == "pre" and opens):
            size = len(_NO_LETTER.sub("", node.text(deep=True)))
            letters, linked = letters + size, linked + (size if inside else 0)
        elif node.tag == "a" and _leads_within(node):
            inside += 1 if opens else -1
            links += opens
        elif node.tag in _LISTS and opens:
            opened.append((letters, linked, links))
        elif node.tag in _LISTS:
            before, linked_before, links_before = opened.pop()
            if links - links_before >= _FEWEST_LINKS and linked - linked_before >= _LINKED * (letters - before):
                found.add(node.mem_id)
    return found


def _bar(link: Any) -> Any:
    """Return the row of links that a link to a neighbouring page stands in, or the link alone."""
    node = link
    while node is not None and node.tag not in _BARS:
        node = node.parent
    return link if node is None or len(node.text(deep=True).strip()) > _LONGEST_BAR else node


def _leads_within(link: Any) -> bool:
    target = (link.attributes or {}).get("href")
    return target is not None and "//" not in target and not target.startswith("mailto:")


def shown_nodes(root: LexborNode, left_out: set[int]) -> Iterator[tuple[Any, bool]]:
    """Yield every node that is shown when it opens, and elements again when they close; code is one element."""
    waiting: list[tuple[Any, bool]] = [(root, True)]
    while waiting:
        node, opens = waiting.pop()
        if opens and (node.tag in _UNSHOWN or node.mem_id in left_out or _is_anchor(node)):
            continue
        yield node, opens
        if opens and node.tag != "-text":
            waiting.append((node, False))
            if node.tag != "pre":
                waiting.extend((child, True) for child in reversed(list(node.iter(include_text=True))))


def _is_anchor(node: Any) -> bool:
    if node.tag != "a":
        return False
    text = node.text(deep=True).strip()
    if text in _ANCHOR_SIGNS and ((node.attributes or {}).get("href") or "").startswith("#"):
        return True
    return len(text) <= 1 and bool(_ANCHORS.search((node.attributes or {}).get("class") or ""))
