"""HTML as Markdown: headings, paragraphs, lists, tables and code of the page's main part; no tags, menus or scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cde_retrievers.util.imports import imported

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSHOWN = {
    *("head", "script", "style", "template", "noscript", "svg", "math", "iframe", "object", "nav", "footer", "form"),
    *("button", "select", "aside", "dialog"),
}
_MAIN = ("main", '[role="main"]', "article", "body")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = {
    *(
        "address",
        "article",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
    ),
    *("header", "hr", "html", "li", "main", "ol", "p", "section", "summary", "table", "tbody", "td", "tfoot", "th"),
    *("thead", "tr", "ul"),
}
# Links that lead from a heading to itself.
_ANCHORS = re.compile(r"\b(headerlink|anchor(?:js)?(?:-link)?|permalink|hash-link|mark)\b")
_MEANT = re.compile(r"^(\s*)(#{1,6}(?=\s)|[-*+](?=\s)|\d{1,9}[.)](?=\s)|```|~~~|={3,}|-{3,}|>|<|\|)")
_LANGUAGE = re.compile(r"\b(?:language|highlight|lang|brush)-([\w+#.-]{1,20})")
_SPACE = re.compile(r"\s+")
_AROUND_BREAK = re.compile(r" *\n[ \n]*")
_DEEPEST_LIST = 10
_DEEPEST = 5_000  # elements in each other: a parser takes the square of that in time
# Of elements that must be closed; a page may leave most others open.
_NESTING = re.compile(
    r"<(/?)(?:div|span|section|article|ul|ol|dl|table|blockquote|pre|b|i|em|strong|font|a|code)\b", re.IGNORECASE
)


def html_as_markdown(html: str) -> str:
    """Return what a page shows as Markdown; its title stands above if no heading says it.

    Raises:
        MissingDependencyError: selectolax is not installed; names the extra.
        ValueError: its elements are nested too deeply.
    """
    _check_depth(html)
    parser = imported("selectolax.lexbor", "reading HTML", extra="docs").LexborHTMLParser
    page = parser(html)
    title = page.css_first("title")
    node = next((found for name in _MAIN if (found := page.css_first(name)) is not None and found.text().strip()), None)
    text = "" if node is None else _Page().read(node)
    named = " ".join(title.text().split()) if title is not None else ""
    headings = [line.lstrip("#").strip() for line in text.split("\n") if re.match(r"#{1,6} ", line)]
    is_named = re.search(r"^# ", text, re.MULTILINE) or (headings and headings[0] in named)
    return text if is_named or not named else f"# {named}\n\n{text}"


def _check_depth(html: str) -> None:
    depth = 0
    for tag in _NESTING.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > _DEEPEST:
            raise ValueError(f"its elements are nested more than {_DEEPEST:,} levels deep")


class _Page:
    """The Markdown of a page, written as its elements open and close; nothing calls itself, however deep they nest."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.line: list[str] = []
        self.mark = ""
        self.lists: list[int | None] = []  # the next number of each list that is open; None where it has none
        self.row: list[str] | None = None
        self.rows: list[list[str]] = []

    def read(self, root: LexborNode) -> str:
        for node, opens in _walk(root):
            if node.tag == "-text":
                self.line.append(_SPACE.sub(" ", node.text_content or ""))
            elif opens:
                self._open(node)
            else:
                self._close(node)
        self._end()
        return "\n\n".join(self.blocks) + "\n"

    def _open(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _BLOCKS or tag in _HEADINGS:
            self._end()
        if tag in _HEADINGS:
            self.mark = "#" * _HEADINGS[tag] + " "
        elif tag in ("ul", "ol"):
            self.lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self.mark = self._item()
        elif tag == "br":
            self.line.append("\n")
        elif tag == "tr" and self.row is None:
            self.row = []

    def _close(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "pre":
            self._end()
            self._code(node)
        elif tag in ("td", "th") and self.row is not None:
            self.row.append(" ".join(self._taken().split()).replace("|", "\\|"))
        elif tag == "tr" and self.row is not None:
            self.rows.append(self.row)
            self.row = None
        elif tag == "table":
            self._table()
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._end()
            self.mark = ""
        if tag in ("ul", "ol") and self.lists:
            self.lists.pop()

    def _item(self) -> str:
        number = self.lists[-1] if self.lists else None
        if self.lists and number is not None:
            self.lists[-1] = number + 1
        return self._indent(self.lists[:-1]) + ("* " if number is None else f"{number}. ")

    def _indent(self, lists: list[int | None]) -> str:
        return "   " * min(len(lists), _DEEPEST_LIST)

    def _taken(self) -> str:
        text = _AROUND_BREAK.sub("\n", "".join(self.line).replace("\0", "")).strip()
        self.line = []
        return text

    def _end(self) -> None:
        """End a paragraph, an item or a heading."""
        if self.row is not None:
            self.line.append("\n")  # a cell is one line
            return
        text = self._taken()
        if self.mark.startswith("#"):
            text = " ".join(text.split())
        elif text:
            text = _MEANT.sub(r"\1\\\2", text)
        if text:
            indent = self._indent(self.lists) if not self.mark else ""
            self.blocks.append(f"{indent}{self.mark}{text}")
            self.mark = ""

    def _code(self, node: LexborNode) -> None:
        code = node.text(deep=True).strip("\n").replace("\0", "")
        if not code.strip():
            return
        longest = max((len(run) for run in re.findall("`+", code)), default=0)
        fence = "`" * max(3, longest + 1)
        named = " ".join(str(value) for name, value in (node.attributes or {}).items() if name == "class")
        language = _LANGUAGE.search(named)
        self.blocks.append(f"{fence}{language[1] if language else ''}\n{code}\n{fence}")

    def _table(self) -> None:
        rows = [row for row in self.rows if any(row)]
        self.rows, self.row = [], None
        if not rows:
            return self._end()
        width = max(map(len, rows))
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
        self.blocks.append("\n".join((lines[0], "|" + "---|" * width, *lines[1:])))


def _walk(root: LexborNode) -> Iterator[tuple[Any, bool]]:
    """Yield every shown node when it opens, and elements again when they close."""
    waiting: list[tuple[Any, bool]] = [(root, True)]
    while waiting:
        node, opens = waiting.pop()
        if opens and (node.tag in _UNSHOWN or _is_anchor(node)):
            continue
        yield node, opens
        if opens and node.tag != "-text":
            waiting.append((node, False))
            if node.tag != "pre":
                waiting.extend((child, True) for child in reversed(list(node.iter(include_text=True))))


def _is_anchor(node: Any) -> bool:
    if node.tag != "a":
        return False
    attributes = node.attributes or {}
    return bool(_ANCHORS.search(attributes.get("class") or "")) and len(node.text(deep=True).strip()) <= 1
