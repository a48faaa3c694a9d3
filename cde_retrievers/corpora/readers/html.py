"""HTML as Markdown: headings, paragraphs, lists, tables and code of the page's main part; no tags, menus or scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cde_retrievers.corpora.literal import literal
from cde_retrievers.corpora.readers.html_chrome import box_titles, chrome_of, link_lists, shown_nodes
from cde_retrievers.util.imports import imported

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_MAIN = ("main", '[role="main"]', "article", "body")
_LISTS = ("ul", "ol", "dl")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = {
    *("address", "article", "blockquote", "body", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption"),
    *("figure", "header", "hr", "html", "li", "main", "ol", "p", "section", "summary", "table", "tbody", "td", "tfoot"),
    *("th", "thead", "tr", "ul"),
}
_SEPARATORS = re.compile(r"[\s|\u00ab\u00bb\u2039\u203a\u2022\u00b7]+")
_LANGUAGE = re.compile(r"\b(?:language|highlight|lang|brush)-([\w+#.-]{1,20})")
_SPACE = re.compile(r"\s+")
_AROUND_BREAK = re.compile(r" *\n[ \n]*")
_HIGHEST_WITHIN = 2  # a heading of this level in a definition is of a page that uses definitions for its layout
_DEEPEST_LIST = 10
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
    title = page.css_first("title")
    named = " ".join(title.text().split()) if title is not None else ""
    node = next((found for name in _MAIN if (found := page.css_first(name)) is not None and found.text().strip()), None)
    if node is None:
        return _Page(set()).text(named)
    chrome = chrome_of(node)
    shown = _Page(chrome | link_lists(node)).read(node)
    if not shown.blocks and not named:
        shown = _Page(chrome).read(node)
    return shown.text(named)


def _check_depth(html: str) -> None:
    depth = 0
    for tag in _NESTING.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > _DEEPEST:
            raise ValueError(f"its elements are nested more than {_DEEPEST:,} levels deep")


class _Page:
    """The Markdown of a page, written as its elements open and close; nothing calls itself, however deep they nest.

    A list of definitions is a list whose items begin with their terms.
    """

    def __init__(self, left_out: set[int]) -> None:
        self.left_out = left_out  # by `mem_id`
        self.box_titles: set[int] = set()
        self.blocks: list[str] = []
        self.headings: list[tuple[int, str, int]] = []  # level, title and place in the blocks
        self.line: list[str] = []
        self.mark = ""
        self.lists: list[int | None] = []  # the next number of each list that is open; None where it has none
        self.ended = 0  # how many of them a heading has ended
        self.terms: list[str] = []  # which the next definition is of
        self.in_term = False
        self.definitions = 0  # that are open
        self.row: list[str] | None = None
        self.rows: list[list[str]] = []

    def read(self, root: LexborNode) -> _Page:
        self.box_titles = box_titles(root)
        for node, opens in shown_nodes(root, self.left_out):
            if node.tag == "-text":
                self.line.append(_SPACE.sub(" ", node.text_content or ""))
            elif opens:
                self._open(node)
            else:
                self._close(node)
        self._end()
        self._end_terms()
        return self

    def text(self, title: str) -> str:
        """Return all blocks; the first heading is that of the page if its title has it, else the title stands above."""
        if title and all(level > 1 for level, _, _ in self.headings):
            _, first, place = self.headings[0] if self.headings else (0, "", 0)
            if first and first in title:
                self.blocks[place] = f"# {literal(first)}"
            else:
                self.blocks.insert(0, f"# {literal(title)}")
        return "\n\n".join(self.blocks) + "\n" if self.blocks else ""

    def _open(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _BLOCKS or tag in _HEADINGS:
            self._end()
        if tag in _HEADINGS and self._announces(node):
            self._end_terms()
        elif tag in _HEADINGS and not self.in_term:
            self._end_terms()
            self.mark = "#" * _HEADINGS[tag] + " "
        elif tag in _LISTS:
            self._end_terms()
            self.lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._end_terms()
            self.mark = self._item()
        elif tag == "dt":
            self.in_term = self.row is None
        elif tag == "dd":
            self._end_terms()
            self.definitions += 1
        elif tag == "br":
            self.line.append("\n")
        elif tag == "tr" and self.row is None:
            self._end_terms()
            self.row = []

    def _close(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "pre":
            self._end()
            self._code(node)
        elif tag in ("td", "th") and self.row is not None:
            self.row.append(literal(" ".join(self._taken().split())))
        elif tag == "tr" and self.row is not None:
            self.rows.append(self.row)
            self.row = None
        elif tag == "table":
            self._table()
        elif tag == "dt" and self.row is None:
            self.in_term = False
            self.terms.extend(self._taken().split("\n"))
        elif tag in _BLOCKS or tag in _HEADINGS:
            if tag in _HEADINGS and self._announces(node) and "".join(self.line).rstrip()[-1:].isalnum():
                self.line.append(":")
            self._end()
            self.mark = ""
            self.definitions -= tag == "dd"
        if tag in _LISTS and self.lists:
            self._end_terms()
            self.lists.pop()
            self.ended = min(self.ended, len(self.lists))

    def _announces(self, heading: LexborNode) -> bool:
        """Whether a heading is about a box or a place in a definition, and not about all that comes behind it."""
        return heading.mem_id in self.box_titles or (
            self.definitions > 0 and _HEADINGS[str(heading.tag)] > _HIGHEST_WITHIN
        )

    def _item(self) -> str:
        number = self.lists[-1] if self.lists else None
        indent = self._indent(self.lists[:-1])
        if self.lists and number is not None:
            self.lists[-1] = number + 1
        return indent + ("* " if number is None else f"{number}. ")

    def _indent(self, lists: list[int | None]) -> str:
        """Return what stands before the lines of an item's text, below its mark."""
        return "".join(
            "   " if number is None else " " * max(3, len(f"{number - 1}. "))
            for number in lists[self.ended : self.ended + _DEEPEST_LIST]
        )

    def _taken(self) -> str:
        text = _AROUND_BREAK.sub("\n", "".join(self.line).replace("\0", "")).strip()
        self.line = []
        return text

    def _end(self) -> None:
        """End a paragraph, an item or a heading."""
        if self.row is not None or self.in_term:
            self.line.append("\n")  # a cell is one line, and a term is one paragraph
            return
        text = self._taken()
        if not text or _SEPARATORS.fullmatch(text):
            return
        self._end_terms()
        if self.mark.startswith("#"):
            title = " ".join(text.split())
            self.ended = len(self.lists)
            self.headings.append((len(self.mark) - 1, title, len(self.blocks)))
            self.blocks.append(self.mark + literal(title))
        else:
            self._add(literal(text), self.mark)
        self.mark = ""

    def _end_terms(self) -> None:
        """Make an item of the terms before a definition."""
        terms = literal("\n".join(filter(None, self.terms)))
        self.terms = []
        if terms:
            self._add(terms, self._item())

    def _add(self, text: str, mark: str = "") -> None:
        """Add a block, below the marks of the lists that it is in."""
        indent = self._indent(self.lists)
        lines = "\n".join(indent + line if line else "" for line in text.split("\n"))
        self.blocks.append(mark + lines[len(indent) :] if mark else lines)

    def _code(self, node: LexborNode) -> None:
        code = node.text(deep=True).strip("\n").replace("\0", "")
        if not code.strip():
            return
        if self.in_term:
            self.line.append(code)
            return
        self._end_terms()
        longest = max((len(run) for run in re.findall("`+", code)), default=0)
        fence = "`" * max(3, longest + 1)
        named = " ".join(str(value) for name, value in (node.attributes or {}).items() if name == "class")
        language = _LANGUAGE.search(named)
        self._add(f"{fence}{language[1] if language else ''}\n{code}\n{fence}")

    def _table(self) -> None:
        rows = [row for row in self.rows if any(row)]
        self.rows, self.row = [], None
        if not rows:
            return self._end()
        width = max(map(len, rows))
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
        self._add("\n".join((lines[0], "|" + "---|" * width, *lines[1:])))
