"""Documents and vectors of one generation, open for reading and unaffected by writers.

Axes: R rows, W numbers of a stored vector.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.filters import Filter, Missing, compile_filter
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.packed_vectors import gathered
from cde_retrievers.index.segment import Segment
from cde_retrievers.retrieval.document import Document
from cde_retrievers.retrieval.exact_search import Rows
from cde_retrievers.validation.vectors import Embeddings


class Snapshot:
    """Documents and vectors that a manifest lists; rows are numbered through all segments.

    Args:
        manifest: the generation.
        segments: its open segments, in order.
        accelerator: proposes candidates; None if all searches are exact.
        damaged: what is wrong with each damaged file, all of which are left out.

    Attributes:
        starts: number of the first row of each segment, and R.
        live: mask (R,) of the rows that are not deleted.
    """

    def __init__(
        self,
        manifest: Manifest,
        segments: Sequence[Segment],
        accelerator: Accelerator | None = None,
        damaged: tuple[str, ...] = (),
    ) -> None:
        self.manifest = manifest
        self.damaged = damaged
        self.segments = tuple(segments)
        self.starts = np.cumsum([0, *(entry.rows for entry in manifest.segments)])
        live = [segment.live_rows(entry) for segment, entry in zip(self.segments, manifest.segments, strict=True)]
        self.live: NDArray[np.bool_] = np.concatenate([np.zeros(0, dtype=bool), *live])
        sound = [
            np.full(entry.rows, s.is_searchable) for s, entry in zip(self.segments, manifest.segments, strict=True)
        ]
        self._searchable: NDArray[np.bool_] = self.live & np.concatenate([np.zeros(0, dtype=bool), *sound])
        self.accelerator = accelerator

    def __len__(self) -> int:
        return int(np.count_nonzero(self.live))

    @cached_property
    def rows_by_id(self) -> dict[str, int]:
        """Row of every document by its id; computed at first use and kept.

        Raises:
            IndexFileError: an id occurs twice.
        """
        ids = (identity for segment in self.segments for identity in segment.ids)
        rows = {identity: row for row, (identity, live) in enumerate(zip(ids, self.live, strict=True)) if live}
        if len(rows) < len(self):
            raise IndexFileError("two documents of the index have the same id; restore the index from a copy")
        return rows

    def take_ids_of(self, before: "Snapshot") -> None:
        """Derive `rows_by_id` from that of the generation before, if it has one, by looking only at what changed."""
        kept = _rows_in_common(before.manifest, self.manifest)
        if kept == 0 or "rows_by_id" not in vars(before):
            return
        rows = before.rows_by_id.copy()
        gone = before.live.copy()
        gone[:kept] &= ~self.live[:kept]
        for row in np.flatnonzero(gone):
            del rows[before._id(int(row))]
        rows.update((self._id(row), row) for row in range(kept, len(self.live)) if self.live[row])
        self.rows_by_id = rows

    def document(self, row: int) -> Document:
        """Return the document in a row."""
        segment, place = self._place(row)
        return segment.document(place)

    def rows(self, query_filter: Filter | None = None, missing: Missing = "error") -> Iterator[int]:
        """Yield the rows that are not deleted and pass the filter, in order; segments are read one at a time.

        Raises:
            FilterError: the filter is impossible, or names a field that no document has, if such a one is an error;
                raised by the call itself.
        """
        if query_filter is None or len(self) == 0:
            return (int(row) for row in np.flatnonzero(self.live))
        expression = compile_filter(query_filter, self.fields, missing)
        return (
            start + row
            for start, segment in zip(self.starts[:-1].tolist(), self.segments, strict=True)
            for row in np.flatnonzero(segment.passing(expression)).tolist()
            if self.live[start + row]
        )

    def ids(self, query_filter: Filter | None = None, missing: Missing = "error") -> Iterator[str]:
        """Yield the ids of these rows."""
        if query_filter is None:
            return iter(self.rows_by_id)
        return (self._id(row) for row in self.rows(query_filter, missing))

    def documents(self, query_filter: Filter | None = None, missing: Missing = "error") -> Iterator[Document]:
        """Yield the documents in these rows, one in memory at a time."""
        return (self.document(row) for row in self.rows(query_filter, missing))

    def _id(self, row: int) -> str:
        segment, place = self._place(row)
        return segment.ids[place]

    def _place(self, row: int) -> tuple[Segment, int]:
        """Return the segment of a row, and the number of the row within it."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.segments[part], row - int(self.starts[part])

    def vectors(self, rows: Sequence[int] | Rows) -> Embeddings:
        """Copy the vectors of n rows -> (n, W)."""
        wanted, width = np.asarray(rows, dtype=np.int64), self.manifest.vector_format.dimensions
        return gathered(lambda part: self.segments[part].vectors, self.starts, wanted, width)

    def vector_of_text(self, text: str) -> Embeddings | None:
        """Return the vector (W,) that the embedder of the index made from a text, maybe of a deleted document, or None.

        The first call reads every text.
        """
        found = (segment.vector_of_text(text) for segment in reversed(self.segments))
        return next((vector for vector in found if vector is not None), None)

    @cached_property
    def fields(self) -> frozenset[str]:
        """Every metadata field that a document has."""
        parts = zip(self.starts[:-1].tolist(), self.segments, strict=True)
        return frozenset().union(
            *(segment.fields(self.live[start : start + segment.entry.rows]) for start, segment in parts)
        )

    def searchable_rows(self, query_filter: Filter | None = None, missing: Missing = "error") -> NDArray[np.bool_]:
        """Return a mask (R,) of the rows that a search may find: not deleted, vectors undamaged, passing the filter.

        Raises:
            FilterError: as `rows`.
        """
        if query_filter is None:
            return self._searchable
        expression = compile_filter(query_filter, self.fields, missing)
        passing: NDArray[np.bool_] = np.concatenate([segment.passing(expression) for segment in self.segments])
        return np.logical_and(self._searchable, passing)


def _rows_in_common(before: Manifest, after: Manifest) -> int:
    """Count the leading rows that both generations share; some of them may have been deleted since."""
    pairs = zip(before.segments, after.segments, strict=False)
    return sum(old.rows for old, _ in takewhile(lambda pair: pair[0].name == pair[1].name, pairs))
