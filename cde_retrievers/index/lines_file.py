"""The ids of a segment's documents, and where the line of each ends, in one JSON file."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from cde_retrievers.retrieval.document import from_line


@dataclass(frozen=True, slots=True)
class Lines:
    """Content of `lines.json`.

    Attributes:
        ids: id of the document in each row.
        ends: where its line ends, in bytes.
    """

    ids: list[str]
    ends: list[int]


def read_lines(path: Path, rows: int, size: int | None) -> Lines:
    """Read the file at `path`.

    Args:
        path: path of the file.
        rows: number of documents.
        size: size of the documents in bytes, if known.

    Raises:
        ValueError, RecursionError: the file holds something else.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    ids, ends = fields.get("ids"), fields.get("ends")
    if not _are_ids(ids, rows) or not _are_ends(ends, rows, size):
        raise ValueError(f"{rows} ids, and where the line of each document ends in documents.jsonl, are needed")
    return Lines(ids, ends)


def lines_of(text: bytes, rows: int) -> Lines:
    """Return the content of the file for the lines of that many documents.

    Raises:
        ValueError, RecursionError: the lines are not documents, or not that many.
    """
    lines = text.splitlines(keepends=True)
    if len(lines) != rows:
        raise ValueError(f"there are {len(lines)} lines instead of {rows}")
    ids = [str(from_line(line).id) for line in lines]
    return Lines(ids, np.cumsum([len(line) for line in lines]).tolist())


def _are_ids(found: object, rows: int) -> TypeGuard[list[str]]:
    return isinstance(found, list) and all(type(identity) is str for identity in found) and len(set(found)) == rows


def _are_ends(found: object, rows: int, size: int | None) -> TypeGuard[list[int]]:
    """Whether this is a list of the ends of `rows` lines, the last at `size` if that is known."""
    if not are_whole(found) or len(found) != rows:
        return False
    return all(a < b for a, b in pairwise([0, *found])) and size in (None, found[-1])


def are_whole(found: object) -> TypeGuard[list[int]]:
    """Whether this is a list of whole numbers."""
    return isinstance(found, list) and all(type(number) is int for number in found)
