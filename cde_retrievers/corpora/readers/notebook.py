"""Jupyter notebooks as Markdown: their texts, and their code in fences; what it printed is left out."""

import re
from collections.abc import Iterator
from typing import Any

from cde_retrievers.corpora.decoding import parse_json


def notebook_as_markdown(content: str) -> str:
    """Return the cells of a notebook.

    Raises:
        ValueError: it is not a notebook.
    """
    notebook = parse_json(content)
    if not isinstance(notebook, dict):
        raise ValueError(f"it is a JSON {type(notebook).__name__}, not a notebook")
    sheets = notebook.get("worksheets")
    cells = sheets[0].get("cells") if isinstance(sheets, list) and sheets else notebook.get("cells")
    if not isinstance(cells, list):
        raise ValueError("it has no cells")
    return "\n\n".join(_texts(cells, _language(notebook))) + "\n"


def _texts(cells: list[Any], language: str) -> Iterator[str]:
    for cell in cells:
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = cell.get("source", cell.get("input", "")) if isinstance(cell, dict) else ""
        text = ("".join(source) if isinstance(source, list) else str(source)).strip("\n")
        if kind == "heading":
            yield f"{'#' * int(cell.get('level', 1))} {text}"
        elif kind == "markdown" and text.strip():
            yield text
        elif kind == "code" and text.strip():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            yield f"{fence}{language}\n{text}\n{fence}"


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    found = metadata.get("language_info") if isinstance(metadata, dict) else None
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) and re.fullmatch(r"[\w+#.-]{1,20}", name) else "python"
