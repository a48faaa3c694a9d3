"""The files of a segment, opened for reading: each must hold what the manifest lists.

Axes: R rows, B numbers of a stored row.
"""

import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

import numpy as np

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.columns import Column
from cde_retrievers.index.columns_file import map_columns
from cde_retrievers.index.entries import COLUMNS, DOCUMENTS, LINES, POSTINGS, VECTORS, SegmentEntry
from cde_retrievers.index.lines_file import Lines, are_whole, lines_of, read_lines
from cde_retrievers.index.ownership import SEGMENTS
from cde_retrievers.index.postings_file import map_postings
from cde_retrievers.index.segment_writer import safetensors_head
from cde_retrievers.index.symlinks import obstacle
from cde_retrievers.index.vector_format import Codes, VectorFormat
from cde_retrievers.sparse.postings import Postings


class DamagedFileError(IndexFileError):
    """A file of a segment does not hold what it should.

    Attributes:
        name: name of the file.
    """

    def __init__(self, path: Path, wrong: str) -> None:
        super().__init__(
            f"{path} {wrong}; restore it from a copy, or read what is undamaged with "
            f"ContextualIndex.open(path, salvage=True)"
        )
        self.name = path.name


class SegmentFiles:
    """Opens the files of one segment.

    Each method raises DamagedFileError if its file does not hold what it should, is not a file or is reached through a
    link, and FileNotFoundError if a writer has removed it in the meantime.

    Args:
        root: directory of the index.
        entry: the segment as the manifest lists it.

    Attributes:
        folder: directory of the segment.
    """

    def __init__(self, root: Path, entry: SegmentEntry) -> None:
        self.folder = root / SEGMENTS / entry.name
        self._root = root
        self._entry = entry

    def documents(self) -> mmap.mmap:
        """Map the lines of the documents."""
        path = self._path(DOCUMENTS)
        with path.open("rb") as file, damage_explained(path, "holds no documents"):  # if it is empty
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def vectors(self, form: VectorFormat) -> Codes:
        """Map the vectors (R, B) as they are stored."""
        rows = self._entry.rows
        path, head = self._path(VECTORS), safetensors_head(rows, form)
        with path.open("rb") as file:
            # An earlier release, or another program, may have put more spaces in front of the numbers.
            length = int.from_bytes(file.read(8), "little")
            found = file.read(length) if 0 < length <= 2 * len(head) else b""
        size = 8 + length + rows * form.bytes_per_vector
        if found.rstrip() != head[8:].rstrip() or path.stat().st_size != size:
            raise DamagedFileError(path, f"does not hold {rows} rows of {form.dimensions} numbers as {form.dtype}")
        return np.memmap(path, form.numpy_dtype, "r", 8 + length, (rows, form.columns))

    def postings(self) -> Postings:
        """Map the postings of the R documents."""
        path = self._path(POSTINGS)
        with damage_explained(path, f"does not hold postings of {self._entry.rows} rows"):
            return map_postings(path, self._entry.rows)

    def columns(self) -> dict[str, Column]:
        """Map the metadata of the R documents by field."""
        path = self._path(COLUMNS)
        with damage_explained(path, f"does not hold columns of {self._entry.rows} rows"):
            return map_columns(path, self._entry.rows)

    def lines(self, text: mmap.mmap | None) -> Lines:
        """Read the ids, and where the lines of the documents end; `text` is these lines, None if they are damaged."""
        path = self._path(LINES)
        with damage_explained(path, "cannot be read"):
            return read_lines(path, self._entry.rows, None if text is None else len(text))

    def rebuilt_lines(self, text: mmap.mmap | None) -> Lines:
        """Return what `lines` does, but from the documents; without these the ids are empty."""
        if text is None:
            return Lines([""] * self._entry.rows, [0] * self._entry.rows)
        with damage_explained(self.folder / DOCUMENTS, "cannot be read"):
            return lines_of(text[:], self._entry.rows)

    def deleted_rows(self, entry: SegmentEntry) -> list[int]:
        """Read the deleted rows, ascending; `entry` is that of a manifest, perhaps a later one than the segment's."""
        if entry.deletions is None:
            return []
        path = self._path(entry.deletions.name)
        with damage_explained(path, "is not valid JSON"):
            dead = json.loads(path.read_text(encoding="utf-8"))
        if not _are_rows(dead, entry.rows) or len(dead) != entry.deleted:
            raise DamagedFileError(path, f"does not list {entry.deleted} of {entry.rows} rows, in order")
        return dead

    def _path(self, name: str) -> Path:
        path = self.folder / name
        wrong = obstacle(self._root, SEGMENTS, self._entry.name, name)
        if wrong is None:
            return path
        path.lstat()  # FileNotFoundError, if a writer has removed it
        raise DamagedFileError(path, f"cannot be used: {wrong}")


@contextmanager
def damage_explained(
    path: Path, wrong: str, kinds: tuple[type[Exception], ...] = (ValueError, RecursionError)
) -> Iterator[None]:
    """Turn errors of the block, which reads a file, into DamagedFileError.

    Args:
        path: path of the file.
        wrong: what such an error says about it.
        kinds: the errors that mean it; others pass.
    """
    try:
        yield
    except kinds as error:
        raise DamagedFileError(path, f"{wrong}: {error}") from error


def _are_rows(found: object, rows: int) -> TypeGuard[list[int]]:
    """Whether this is a list of row numbers, ascending and without repetition."""
    return are_whole(found) and all(a < b for a, b in pairwise([-1, *found, rows]))
