"""Changes to an index: documents added, replaced or deleted. Each serves the next generation."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.compaction import compacted, partly_compacted
from cde_retrievers.index.manifest import Manifest, SegmentEntry
from cde_retrievers.index.segment_writer import write_deletions, write_segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.retrieval.document import Document
from cde_retrievers.validation.vectors import Embeddings


def commit_documents(
    store: IndexStore, before: Snapshot, documents: Sequence[Document], vectors: Embeddings, named: int
) -> Manifest:
    """Serve the next generation, with these documents in place of those that have the same ids.

    Args:
        store: store of the index.
        before: the generation being served.
        documents: n documents, checked, with ids.
        vectors: their embeddings (n, W).
        named: number of documents that were assigned an id so far.
    """
    replaced = [before.rows_by_id[str(d.id)] for d in documents if d.id in before.rows_by_id]
    added = write_segment(store.home, documents, vectors)
    return _commit(store, before, (*_without(store, before, replaced), added), named)


def commit_deletions(store: IndexStore, before: Snapshot, rows: Iterable[int]) -> Manifest:
    """Serve the next generation, without these rows of the one before."""
    return _commit(store, before, _without(store, before, rows), before.manifest.named)


def commit_compaction(store: IndexStore, before: Snapshot) -> Manifest:
    """Serve the next generation, which has the same documents in as few segments as possible."""
    return store.commit(compacted(store, _next(before)))


def _commit(store: IndexStore, before: Snapshot, segments: tuple[SegmentEntry, ...], named: int) -> Manifest:
    after = _next(before).changed(segments=segments, named=named)
    return store.commit(partly_compacted(store, after))


def _next(before: Snapshot) -> Manifest:
    return before.manifest.changed(generation=before.manifest.generation + 1)


def _without(store: IndexStore, before: Snapshot, deleted: Iterable[int]) -> tuple[SegmentEntry, ...]:
    rows = np.asarray(sorted(deleted), dtype=np.int64)
    if len(rows) == 0:
        return before.manifest.segments
    live = before.live.copy()
    live[rows] = False
    return tuple(
        _marked(store, entry, before.live[start : start + entry.rows], live[start : start + entry.rows])
        for entry, start in zip(before.manifest.segments, before.starts[:-1], strict=True)
    )


def _marked(
    store: IndexStore, entry: SegmentEntry, before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> SegmentEntry:
    """The segment with the rows that count `after`, (R,) as before."""
    if np.array_equal(before, after):
        return entry
    return write_deletions(store.home, entry, np.flatnonzero(~after).tolist())
