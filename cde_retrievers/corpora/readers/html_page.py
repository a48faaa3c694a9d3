"""The Markdown of a page: headings, paragraphs, lists, tables and code, with `literal` texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cde_retrievers.corpora.literal import literal
from cde_retrievers.corpora.readers.html_chrome import box_titles, is_stamp
from cde_retrievers.corpora.readers.html_leads import is_bold, is_question
from cde_retrievers.corpora.readers.html_shown import shown_nodes
from cde_retrievers.corpora.readers.html_title import Heading

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_LISTS = ("ul", "ol", "dl")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PARAGRAPHS = {"p", "div", "center"}
_DEEPEST = 6
_BLOCKS = {
    *(
        "address",
        "article",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
    ),
    *("figure", "header", "hr", "html", "li", "main", "ol", "p", "section", "summary", "table", "tbody", "td"),
    *("tfoot", "th", "thead", "tr", "ul"),
}
_SEPARATORS = re.compile(r"[\s|\u00ab\u00bb\u2039\u203a\u2022\u00b7]+")
_LANGUAGE = re.compile(r"\b(?:language|highlight|lang|brush)-([\w+#.-]{1,20})")
_SPACE = re.compile(r"\s+")
_AROUND_BREAK = re.compile(r" *\n[ \n]*")
_HIGHEST_WITHIN = 2  # a heading of this level in a definition is of a page that uses definitions for its layout
_DEEPEST_LIST = 10
_FEW_LINES = 4  # of code in a cell, which is one line


class PageWriter:
    """The Markdown of a page, written as its elements open and close; nothing calls itself, however deep they nest.

    A list of definitions is a list whose items begin with their terms.
    """

    def __init__(self, left_out: set[int]) -> None:
        self.left_out = left_out  # by `mem_id`
        self.box_titles: set[int] = set()
        self.blocks: list[str] = []
        self.headings: list[Heading] = []
        self.level = 1  # of the last heading
        self.line: list[str] = []
        self.mark = ""
        self.lists: list[int | None] = []  # the next number of each list that is open; None where it has none
        self.ended = 0  # how many of them a heading has ended
        self.terms: list[str] = []  # which the next definition is of
        self.in_term = False
        self.definitions = 0  # that are open
        self.row: list[str] | None = None
        self.rows: list[list[str]] = []

    def read(self, root: LexborNode) -> PageWriter:
        """Write what is shown below an element; return the writer."""
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

    def _open(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _BLOCKS or tag in _HEADINGS:
            self._end()
        if tag in _HEADINGS:
            self._begin_heading(node)
        elif tag in _PARAGRAPHS and self._is_free() and is_question(node):
            self.mark = "#" * min(self.level + 1, _DEEPEST) + " "
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
            announces = self._announces(node) if tag in _HEADINGS else tag in _PARAGRAPHS and is_bold(node)
            if announces and not self.mark.startswith("#") and "".join(self.line).rstrip()[-1:].isalnum():
                self.line.append(":")
            self._end()
            self.mark = ""
            self.definitions -= tag == "dd"
        if tag in _LISTS and self.lists:
            self._end_terms()
            self.lists.pop()
            self.ended = min(self.ended, len(self.lists))

    def _begin_heading(self, node: LexborNode) -> None:
        if self._announces(node):
            self._end_terms()
        elif not self.in_term:
            self._end_terms()
            self.level = _HEADINGS[str(node.tag)]
            self.mark = "#" * self.level + " "

    def _is_free(self) -> bool:
        return not self.lists and not self.definitions and not self.in_term and self.row is None

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
        if not text or _SEPARATORS.fullmatch(text) or is_stamp(text):
            return
        self._end_terms()
        if self.mark.startswith("#"):
            title = " ".join(text.split())
            self.ended = len(self.lists)
            self.headings.append(Heading(len(self.mark) - 1, title, len(self.blocks)))
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
        code = "".join(self._texts(node)).strip("\n").replace("\0", "")
        if not code.strip():
            return
        if self.in_term or (self._is_in_cell() and code.count("\n") < _FEW_LINES):
            self.line.append(code)
            return
        self._end_terms()
        longest = max((len(run) for run in re.findall("`+", code)), default=0)
        fence = "`" * max(3, longest + 1)
        named = " ".join(str(value) for name, value in (node.attributes or {}).items() if name == "class")
        language = _LANGUAGE.search(named)
        self._add(f"{fence}{language[1] if language else ''}\n{code}\n{fence}")

    def _is_in_cell(self) -> bool:
        """Whether something stands before in the same cell, so that a block would part it from what follows."""
        return self.row is not None and any(text.strip() for text in self.line)

    def _texts(self, code: LexborNode) -> Iterator[str]:
        for node, opens in shown_nodes(code, self.left_out):
            if node.tag == "-text":
                yield node.text_content or ""
            elif node.tag == "br" and opens:
                yield "\n"

    def _table(self) -> None:
        rows = [row for row in self.rows if any(row)]
        self.rows, self.row = [], None
        if not rows:
            return self._end()
        width = max(map(len, rows))
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
        self._add("\n".join((lines[0], "|" + "---|" * width, *lines[1:])))
