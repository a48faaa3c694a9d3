"""One generation of an index, open for reading: it stays as it is, whatever a writer does.

Axes: Q queries, K hits, W width.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.filters import Filter, compile_filter
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.segment import Segment
from cde_retrievers.retrieval.document import Document
from cde_retrievers.retrieval.exact_search import Rows, Scores, best_of, exact_search
from cde_retrievers.validation.vectors import Embeddings


class Snapshot:
    """Documents and vectors of a manifest; rows are numbered through all segments.

    Args:
        manifest: the generation.
        segments: its open segments, in order.
        accelerator: proposes candidates; None if there is none, and all searches are exact.
        damaged: what is wrong with each file that is done without.
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
        self._searchable = self.live & np.concatenate([np.zeros(0, dtype=bool), *sound])
        self._accelerator = accelerator

    def __len__(self) -> int:
        return int(self.live.sum())

    @cached_property
    def rows_by_id(self) -> dict[str, int]:
        """Row of every document that counts; built at the first need and kept.

        Raises:
            IndexFileError: an id comes twice.
        """
        ids = (identity for segment in self.segments for identity in segment.ids)
        rows = {identity: row for row, (identity, live) in enumerate(zip(ids, self.live, strict=True)) if live}
        if len(rows) < len(self):
            raise IndexFileError("two documents of the index have the same id; restore the index from a copy")
        return rows

    def take_ids_of(self, before: "Snapshot") -> None:
        """Make `rows_by_id` of the one that the generation before has, if any: only what changed is looked at."""
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
        """The document in a row."""
        segment, place = self._place(row)
        return segment.document(place)

    def rows(self, query_filter: Filter | None = None) -> Iterator[int]:
        """The rows that count and pass, in order; segment by segment, each looked at when it is its turn.

        Raises:
            FilterError: as `search`; at once.
        """
        if query_filter is None or len(self) == 0:
            return (int(row) for row in np.flatnonzero(self.live))
        passes = compile_filter(query_filter, self.fields)
        return (
            row
            for start, segment in zip(self.starts[:-1].tolist(), self.segments, strict=True)
            for row, metadata in enumerate(segment.metadata, start)
            if self.live[row] and passes(metadata)
        )

    def ids(self, query_filter: Filter | None = None) -> Iterator[str]:
        """The ids of these rows."""
        if query_filter is None:
            return iter(self.rows_by_id)
        return (self._id(row) for row in self.rows(query_filter))

    def documents(self, query_filter: Filter | None = None) -> Iterator[Document]:
        """The documents in these rows, one in memory at a time."""
        return (self.document(row) for row in self.rows(query_filter))

    def _id(self, row: int) -> str:
        segment, place = self._place(row)
        return segment.ids[place]

    def _place(self, row: int) -> tuple[Segment, int]:
        """The segment that a row is in, and which row of it that is."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.segments[part], row - int(self.starts[part])

    def vectors(self, rows: Sequence[int] | Rows) -> Embeddings:
        """Vectors of rows (n, W), copied."""
        wanted = np.asarray(rows, dtype=np.int64)
        result = np.empty((len(wanted), self.manifest.width), dtype=np.float32)
        parts = np.searchsorted(self.starts, wanted, side="right") - 1
        for part in np.unique(parts):
            here = parts == part
            result[here] = self.segments[part].vectors[wanted[here] - self.starts[part]]
        return result

    @cached_property
    def fields(self) -> frozenset[str]:
        """Every metadata field that a document has."""
        return frozenset().union(*(segment.fields for segment in self.segments))

    def search(self, queries: Embeddings, k: int, query_filter: Filter | None) -> tuple[Scores, Rows]:
        """Scores and rows of the hits, each (Q, K); with a filter always exact.

        Raises:
            FilterError: the filter is impossible, or names a field that no document has.
        """
        if len(self) == 0:
            return np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
        k = min(k, len(self))
        allowed = self._searchable if query_filter is None else self._searchable & self._passing(query_filter)
        if query_filter is not None or self._accelerator is None:
            return self._exact(queries, k, allowed, self.starts[0])
        near = self._rescored(queries, k, allowed, self._accelerator)
        return best_of(*near, *self._exact(queries, k, allowed, self._accelerator.rows), k)

    def _exact(self, queries: Embeddings, k: int, allowed: NDArray[np.bool_], first: int) -> tuple[Scores, Rows]:
        """Among the segments from row `first` on, where a segment begins."""
        parts = (
            (int(start), segment.vectors, allowed[start : start + segment.entry.rows])
            for start, segment in zip(self.starts[:-1], self.segments, strict=True)
            if start >= first and segment.is_searchable
        )
        return exact_search(queries, parts, k)

    def _rescored(
        self, queries: Embeddings, k: int, allowed: NDArray[np.bool_], accelerator: Accelerator
    ) -> tuple[Scores, Rows]:
        """The accelerator's candidates with their exact scores."""
        covered = allowed & (np.arange(len(allowed)) < accelerator.rows)
        count = min(k, int(covered.sum()))
        rows = accelerator.candidates(queries, k, allowed)
        if count and (rows >= 0).sum(axis=1).min() < count:
            # It can miss what there is where much was deleted.
            return self._exact(queries, k, covered, 0)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        for number, (query, candidates) in enumerate(zip(queries, rows, strict=True)):
            found = candidates >= 0
            scores[number, found] = self.vectors(candidates[found]) @ query
        return best_of(scores[:, :0], rows[:, :0], scores, rows, count)

    def _passing(self, query_filter: Filter) -> NDArray[np.bool_]:
        passes = compile_filter(query_filter, self.fields)
        every = (metadata for segment in self.segments for metadata in segment.metadata)
        return np.fromiter((passes(metadata) for metadata in every), dtype=bool, count=len(self.live))


def _rows_in_common(before: Manifest, after: Manifest) -> int:
    """How many rows, from the first one on, are the same in both; some of them may have been deleted since."""
    pairs = zip(before.segments, after.segments, strict=False)
    return sum(old.rows for old, _ in takewhile(lambda pair: pair[0].name == pair[1].name, pairs))
