"""Documents and vectors that were written together, mapped into memory.

Axes: R rows, W numbers of a vector, B numbers of a stored row.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.columns import Column, Columns, ColumnsBuilder
from cde_retrievers.index.conditions import Expression
from cde_retrievers.index.entries import COLUMNS, DOCUMENTS, LINES, POSTINGS, VECTORS, SegmentEntry
from cde_retrievers.index.packed_vectors import PackedVectors
from cde_retrievers.index.segment_files import DamagedFileError, SegmentFiles, damage_explained
from cde_retrievers.index.vector_format import Codes, VectorFormat
from cde_retrievers.retrieval.document import Document, from_line
from cde_retrievers.sparse.postings import Postings
from cde_retrievers.validation.vectors import Embeddings


class Segment:
    """An open segment, which stays readable after its files are unlinked.

    Args:
        directory: directory of the index.
        entry: the segment as the manifest lists it.
        form: how vectors are stored.
        damaged: names of files that must not be read.

    Raises:
        DamagedFileError: a file does not hold what the manifest says.
    """

    def __init__(
        self, directory: Path, entry: SegmentEntry, form: VectorFormat, damaged: frozenset[str] = frozenset()
    ) -> None:
        self.entry = entry
        self._files = SegmentFiles(directory, entry)
        self._folder = self._files.folder
        self._text = None if DOCUMENTS in damaged else self._files.documents()
        self._codes = None if VECTORS in damaged else self._files.vectors(form)
        self._vectors = None if self._codes is None else _as_vectors(self._codes, form)
        self._postings = self._files.postings() if entry.has_postings and POSTINGS not in damaged else None
        self._mapped_fields = self._files.columns() if entry.has_columns and COLUMNS not in damaged else None
        self._lines = (self._files.rebuilt_lines if LINES in damaged else self._files.lines)(self._text)

    @property
    def ids(self) -> list[str]:
        """Ids by row, those of deleted documents included."""
        return self._lines.ids

    @property
    def is_searchable(self) -> bool:
        """Whether the vectors are undamaged."""
        return self._codes is not None

    @property
    def is_readable(self) -> bool:
        """Whether the documents are undamaged."""
        return self._text is not None

    @property
    def vectors(self) -> Embeddings | PackedVectors:
        """(R, W) unit rows, mapped from the file; `vectors[rows]` is float32, however they are stored."""
        if self._vectors is None:
            raise IndexFileError(f"{self._folder / VECTORS} is damaged and cannot be searched")
        return self._vectors

    @property
    def codes(self) -> Codes:
        """(R, B) the same as they are stored."""
        if self._codes is None:
            raise IndexFileError(f"{self._folder / VECTORS} is damaged and cannot be copied")
        return self._codes

    @property
    def has_postings(self) -> bool:
        """Whether there are postings, and undamaged."""
        return self._postings is not None

    @property
    def postings(self) -> Postings:
        """Sparse rows of the R documents by term, mapped from the file."""
        if self._postings is None:
            raise IndexFileError(f"{self._folder / POSTINGS} is missing or damaged, so words cannot be searched for")
        return self._postings

    def line(self, row: int) -> bytes:
        """Return the stored line of the document in a row, deleted or not."""
        if self._text is None:
            raise IndexFileError(f"{self._folder / DOCUMENTS} is damaged and cannot be read")
        ends = self._lines.ends
        return self._text[ends[row - 1] if row else 0 : ends[row]]

    def document(self, row: int) -> Document:
        """Return the document in a row, deleted or not.

        Raises:
            DamagedFileError: the line holds another document, or none.
        """
        try:
            document = from_line(self.line(row))
        except (ValueError, RecursionError) as error:
            path = self._folder / DOCUMENTS
            raise DamagedFileError(path, f"holds no document in line {row + 1}: {error}") from error
        if document.id != self.ids[row]:
            path = self._folder / DOCUMENTS
            raise DamagedFileError(path, f"holds another document than {self.ids[row]!r} in line {row + 1}")
        return document

    @cached_property
    def rows_by_text(self) -> dict[int, int]:
        """Row of a document by the hash of its text, deleted ones included; computed at first use and kept."""
        return {hash(self.document(row).text): row for row in range(self.entry.rows)}

    def vector_of_text(self, text: str) -> Embeddings | None:
        """Return the vector (W,) that the embedder of the index made from a text; None if there is none."""
        if not self.entry.by_text:
            return None
        row = self.rows_by_text.get(hash(text))
        return None if row is None or self.document(row).text != text else self.vectors[row : row + 1][0]

    def fields(self, live: NDArray[np.bool_]) -> frozenset[str]:
        """Return the metadata fields that at least one of the rows has that are left, a mask (R,)."""
        if live.all():
            return frozenset(self._columns.fields)
        fields = self._columns.fields.items()
        return frozenset(name for name, column in fields if (live if column.rows is None else live[column.rows]).any())

    def passing(self, expression: Expression) -> NDArray[np.bool_]:
        """Return which of the rows pass a filter (R,), deleted ones included; none of a segment that is damaged."""
        if not self.is_readable:
            return np.zeros(self.entry.rows, dtype=np.bool_)
        with self._checked_columns() as columns:
            return expression.passing(columns)

    def append_columns(self, builder: ColumnsBuilder, rows: NDArray[np.int64]) -> None:
        """Append the metadata of some rows, in order."""
        with self._checked_columns() as columns:
            builder.extend(columns, rows)

    @contextmanager
    def _checked_columns(self) -> Iterator[Columns]:
        """Give the metadata by field; what is found wrong with them only now is a DamagedFileError too."""
        kinds = (ValueError, TypeError, KeyError, RecursionError)
        with damage_explained(self._folder / COLUMNS, "does not hold the metadata of its documents", kinds):
            yield self._columns

    @cached_property
    def _columns(self) -> Columns:
        """Metadata by field; computed at first use and kept where there is no file of them."""
        fields: Mapping[str, Column] | None = self._mapped_fields
        if fields is None:
            rows = range(self.entry.rows) if self.is_readable else ()
            fields = Columns.of([self.document(row).metadata for row in rows]).fields
        return Columns(self.entry.rows, fields, lambda row: self.document(row).metadata)

    def live_rows(self, entry: SegmentEntry) -> NDArray[np.bool_]:
        """Return a mask (R,) of the rows that are not deleted; all False if the documents are damaged.

        Args:
            entry: the segment as a manifest lists it, which may have more deletions than when it was opened.

        Raises:
            DamagedFileError: the file of deletions does not list rows.
        """
        live = np.full(self.entry.rows, self.is_readable)
        live[self._files.deleted_rows(entry)] = False
        return live


def _as_vectors(codes: Codes, form: VectorFormat) -> Embeddings | PackedVectors:
    return codes if form.dtype == "float32" else PackedVectors(codes, form)
