"""Tables that reStructuredText draws as grids, as Markdown, so that each row is one line."""

import re
from collections.abc import Sequence

from cde_retrievers.corpora.literal import literal

_RULE = re.compile(r"[ ]*\+(?:-+\+)+[ ]*")
_INNER_RULE = re.compile(r"[ ]*\+(?:-+\+|=+\+)+[ ]*")
_BAR = literal("|")  # within a cell


def grid_table(lines: Sequence[str], place: int) -> tuple[list[str], int] | None:
    """Return the grid that begins at a line as the lines of a Markdown table, and the line behind it.

    None if no grid begins there, or one whose cells span rows or columns, which Markdown has not.
    """
    if not _RULE.fullmatch(lines[place]) or (place and _is_drawn(lines[place - 1])):
        return None
    end = place
    while end < len(lines) and _is_drawn(lines[end]):
        end += 1
    first = lines[place].rstrip()
    edges = [at for at, mark in enumerate(first) if mark == "+"]
    rows: list[list[list[str]]] = []
    for line in lines[place:end]:
        shown = line.rstrip()
        if len(shown) != len(first) or any(shown[at] not in "+|" for at in edges):
            return None
        if _INNER_RULE.fullmatch(shown):
            if [at for at, mark in enumerate(shown) if mark == "+"] != edges:
                return None
            rows.append([[] for _ in edges[1:]])
            continue
        if any(shown[at] != "|" for at in edges):
            return None
        for cell, start, stop in zip(rows[-1], edges, edges[1:], strict=False):
            cell.append(shown[start + 1 : stop].strip())
    if len(rows) < 2 or not _INNER_RULE.fullmatch(lines[end - 1].rstrip()):
        return None
    indent = " " * edges[0]
    shown_rows = [f"{indent}| {' | '.join(map(_line, row))} |" for row in rows[:-1]]
    return ["", shown_rows[0], f"{indent}|{'---|' * (len(edges) - 1)}", *shown_rows[1:], ""], end


def _is_drawn(line: str) -> bool:
    return line.strip()[:1] in ("+", "|")


def _line(cell: list[str]) -> str:
    return " ".join(" ".join(cell).split()).replace("|", _BAR)
