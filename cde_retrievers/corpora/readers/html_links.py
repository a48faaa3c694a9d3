"""Rows, lists and boxes of links within a site: tables of contents, letters to jump to, neighbouring pages, mastheads.

What they say stands on the pages that they lead to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cde_retrievers.corpora.readers.html_shown import shown_nodes

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_LISTS = {"ul", "ol", "dl", "table", "p"}
_BOXES = {"div", "section", "details", "center"}
_CELLS = {"td", "th"}
# Text and links that stand in one of these without an element of their own are a row.
_AROUND_ROWS = {"body", "main", "article", "div", "section", "center", "p", "blockquote", "header"}
_WITHIN_LINES = {
    *("-text", "a", "abbr", "b", "big", "br", "cite", "code", "em", "font", "i", "img", "kbd", "mark", "nobr", "samp"),
    *("small", "span", "strong", "sub", "sup", "tt", "u", "var", "wbr"),
}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_NO_LETTER = re.compile(r"\W+")
# What such a row says itself.
_POINTERS = re.compile(r"\b(?:next|prev(?:ious)?|up|see also)\b", re.IGNORECASE)
_CONTENTS = r"(?:table of )?contents|on this page|in this (?:article|chapter|document|page|section)|toc"
_LABELS = re.compile(rf"\b(?:{_CONTENTS}|jump to|see also|next|prev(?:ious)?|up|top|home|index)\b", re.IGNORECASE)
_CONTENTS_LABEL = re.compile(rf"\W*(?:{_CONTENTS})\W*", re.IGNORECASE)
_FEWEST_LINKS = 3
_LINKED = 0.9  # of its letters
_MASTHEADS = {"div", "header", "section", "table", "center"}
_WITHIN_MASTHEADS = ", ".join(("form", "nav", '[role="navigation"]', '[role="search"]'))
_TEXT = "h1, h2, h3, h4, h5, h6, pre, main, article"
_LONGEST_SLOGAN = 60  # letters
_DEEPEST_MASTHEAD = 20


@dataclass(slots=True)
class _Counts:
    """What was met so far.

    Attributes:
        letters: without those of labels.
        linked: letters in links.
        links: their number.
        pointers: labels of neighbouring and related pages.
    """

    letters: int = 0
    linked: int = 0
    links: int = 0
    pointers: int = 0

    def since(self, before: _Counts) -> _Counts:
        """Return what was met after another count."""
        return _Counts(
            self.letters - before.letters,
            self.linked - before.linked,
            self.links - before.links,
            self.pointers - before.pointers,
        )

    def copy(self) -> _Counts:
        """Return the counts as they are now."""
        return self.since(_Counts())

    def are_of_links(self) -> bool:
        """Whether there was little else than links."""
        if self.links >= _FEWEST_LINKS:
            return self.linked >= _LINKED * self.letters
        return self.links > 0 and self.pointers > 0 and self.linked == self.letters


@dataclass(slots=True)
class _LinkLists:
    """The elements found, by `mem_id`, while nodes open and close."""

    found: set[int] = field(default_factory=set)
    counts: _Counts = field(default_factory=_Counts)
    opened: list[_Counts] = field(default_factory=list)
    row: list[Any] = field(default_factory=list)
    row_began: _Counts = field(default_factory=_Counts)
    inside: int = 0  # links that are open
    cells: int = 0  # that are open

    def open(self, node: Any) -> None:
        """Count a text or an element that opens."""
        if node.tag not in _WITHIN_LINES:
            self._end_row()
        elif node.parent is not None and node.parent.tag in _AROUND_ROWS:
            self.row.append(node)
        if node.tag == "-text" or node.tag == "pre":
            self._count(node.text(deep=True))
        elif node.tag == "a" and _leads_within(node):
            self.inside += 1
            self.counts.links += 1
        elif node.tag in _LISTS or node.tag in _BOXES:
            self.opened.append(self.counts.copy())
        self.cells += node.tag in _CELLS

    def close(self, node: Any) -> None:
        """Decide on an element that ends."""
        if node.tag not in _WITHIN_LINES:
            self._end_row()
        if node.tag == "a" and _leads_within(node):
            self.inside -= 1
        elif node.tag in _LISTS or node.tag in _BOXES:
            counts = self.counts.since(self.opened.pop())
            if counts.are_of_links() and (node.tag in _LISTS or self._is_box_of_links(counts)):
                self.found.add(node.mem_id)
                self.found.update(_labels_above(node))
        self.cells -= node.tag in _CELLS

    def _is_box_of_links(self, counts: _Counts) -> bool:
        """Whether a box holds no sentence besides; one in a cell holds data of the table."""
        return not self.cells and counts.letters - counts.linked <= _LONGEST_SLOGAN

    def _count(self, text: str) -> None:
        bare = text if self.inside else _LABELS.sub("", text)
        size = len(_NO_LETTER.sub("", bare))
        self.counts.letters += size
        self.counts.linked += size if self.inside else 0
        self.counts.pointers += bool(not self.inside and _POINTERS.search(text))

    def _end_row(self) -> None:
        if self.row and not self.cells and self.counts.since(self.row_began).are_of_links():
            self.found.update(node.mem_id for node in self.row)
        self.row, self.row_began = [], self.counts.copy()


def link_lists(root: LexborNode, left_out: set[int]) -> set[int]:
    """Return what holds little but links within the site, with the headings that only announce it; by `mem_id`."""
    lists = _LinkLists()
    for node, opens in shown_nodes(root, left_out):
        if opens:
            lists.open(node)
        else:
            lists.close(node)
    return lists.found


def linked_headings(root: LexborNode) -> set[int]:
    """Return headings that lead to another page and have nothing below them, as those of a chapter; by `mem_id`."""
    found: set[int] = set()
    links: list[Any] = root.css("a[href]")
    for link in links:
        outer, inner = (link.parent, link) if link.parent.tag in _HEADINGS else (link, link.child)
        if not _leads_within(link) or str(link.attributes["href"]).startswith("#") or inner is None:
            continue
        heading = outer if outer.tag in _HEADINGS else inner
        below = _beside(outer, forward=True)
        is_whole = inner.prev is None and inner.next is None
        if is_whole and heading.tag in _HEADINGS and below is not None and str(below.tag) in _HEADINGS:
            found |= {outer.mem_id} if str(below.tag) <= str(heading.tag) else set()
    return found


def mastheads(root: LexborNode, left_out: set[int]) -> set[int]:
    """Return what stands above the text of a page around its menus: logos, slogans, fields to search; by `mem_id`.

    Args:
        root: the page's main part.
        left_out: its menus and lists of links, by `mem_id`.
    """
    found: set[int] = set()
    node, depth = root.child, 0
    while node is not None and depth < _DEEPEST_MASTHEAD:
        if node.tag in _MASTHEADS and _is_masthead(node, left_out):
            found.add(node.mem_id)
        elif node.tag in _MASTHEADS and node.mem_id not in left_out:
            node, depth = node.child, depth + 1
            continue
        elif any(
            shown.tag == "-text" and (shown.text_content or "").strip() for shown, _ in shown_nodes(node, left_out)
        ):
            break
        node = node.next
    return found


def _is_masthead(node: Any, left_out: set[int]) -> bool:
    """Whether a box at the top holds a menu or a field to search, and besides a few words at most."""
    if node.css_first(_TEXT) is not None:
        return False
    within = node.css_first(_WITHIN_MASTHEADS) is not None or any(
        each.mem_id in left_out for each in node.css("ul, ol, table, div, p")
    )
    return within and _letters(node, left_out) <= _LONGEST_SLOGAN


def _letters(node: Any, left_out: set[int]) -> int:
    texts = (shown.text_content or "" for shown, _ in shown_nodes(node, left_out) if shown.tag == "-text")
    return len(_NO_LETTER.sub("", "".join(texts)))


def _labels_above(node: Any) -> set[int]:
    """Return the element before a table of contents if it only announces it."""
    above = _beside(node, forward=False)
    return {above.mem_id} if above is not None and _CONTENTS_LABEL.fullmatch(above.text(deep=True)) else set()


def _beside(node: Any, forward: bool) -> Any:
    """Return the next node that shows something, or the one before; None if there is none."""
    found = node.next if forward else node.prev
    while found is not None and (found.tag == "-comment" or (found.tag == "-text" and not found.text().strip())):
        found = found.next if forward else found.prev
    return found


def _leads_within(link: Any) -> bool:
    target = (link.attributes or {}).get("href")
    return target is not None and "//" not in target and not target.startswith("mailto:")
