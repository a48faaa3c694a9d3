"""reStructuredText as Markdown: titles, code, tables and the text of directives; without comments and targets."""

import re
from collections.abc import Iterator
from textwrap import dedent

from cde_retrievers.corpora.literal import NOT_A_MARK
from cde_retrievers.corpora.readers.rst_tables import grid_table

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*")
_EXPLICIT = re.compile(r"\.\.(?:[ \t]+(?P<text>.*))?")
_DIRECTIVE = re.compile(r"(?P<name>[\w.:+-]+?)::(?:[ \t]+(?P<argument>.*))?")
_OPTION = re.compile(r"[ \t]*:[\w-]+:(?:[ \t].*)?")
_CODE = {"code", "code-block", "sourcecode", "parsed-literal", "doctest", "testcode", "ipython", "prompt"}
_UNSHOWN = {
    *("toctree", "contents", "index", "image", "figure", "raw", "include", "literalinclude", "meta", "highlight"),
    *("currentmodule", "module"),
}


def rst_as_markdown(text: str) -> str:
    """Return the text with Markdown's headings and fences; what is not known stays as it is."""
    lines = text.expandtabs(8).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_converted(lines, []))


def _converted(lines: list[str], styles: list[tuple[str, bool]]) -> Iterator[str]:
    """Yield Markdown lines; `styles` are the adornments of titles met so far, from the first level on."""
    place = 0
    while place < len(lines):
        line = lines[place]
        title = _title(lines, place)
        explicit = _EXPLICIT.fullmatch(line)
        table = grid_table(lines, place)
        if title is not None:
            name, style, place = title
            if style not in styles:
                styles.append(style)
            yield from ("", f"{'#' * min(styles.index(style) + 1, 6)} {name}", "")
        elif table is not None:
            rows, place = table
            yield from rows
        elif explicit is not None:
            body, place = _indented(lines, place + 1)
            yield from _directive(explicit["text"] or "", body)
        elif line.rstrip().endswith("::") and not line[:1].isspace():
            shown = line.rstrip()
            body, place = _indented(lines, place + 1)
            yield from ("" if shown == "::" else shown[:-1], *_fenced(body, ""))
        else:
            yield re.sub(r"^(?=\s*#{1,6}\s)", NOT_A_MARK, line)
            place += 1


def _title(lines: list[str], place: int) -> tuple[str, tuple[str, bool], int] | None:
    """Return the title that begins at a line, its style, and the line behind it."""
    over = _ADORNMENT.fullmatch(lines[place])
    at = place + (1 if over else 0)
    if at + 1 >= len(lines) or (place and lines[place - 1].strip()):
        return None
    name, under = lines[at].strip(), _ADORNMENT.fullmatch(lines[at + 1])
    if not name or under is None or _ADORNMENT.fullmatch(lines[at]):
        return None
    if over is None and (lines[at][:1].isspace() or len(under[0].rstrip()) < min(len(name), 4)):
        return None
    return (name, (under[1], over is not None), at + 2) if over is None or over[1] == under[1] else None


def _indented(lines: list[str], place: int) -> tuple[list[str], int]:
    """Return the indented lines from there on, and the line behind them."""
    end = place
    while end < len(lines) and (not lines[end].strip() or lines[end][:1] == " "):
        end += 1
    return dedent("\n".join(lines[place:end])).strip("\n").split("\n"), end


def _directive(text: str, body: list[str]) -> Iterator[str]:
    directive = _DIRECTIVE.match(text)
    if directive is None or directive["name"] in _UNSHOWN:
        return  # a comment, a target, a footnote's name, or something that shows no text
    argument = directive["argument"] or ""
    options = 0
    while options < len(body) and _OPTION.fullmatch(body[options]):
        options += 1
    if directive["name"] in _CODE:
        yield from _fenced(body[options:], argument)
    else:
        yield from ("", argument, "", *body[options:], "")


def _fenced(body: list[str], language: str) -> Iterator[str]:
    shown = "\n".join(body).strip("\n")
    if shown.strip():
        yield from ("", f"```{language}", *shown.split("\n"), "```", "")
