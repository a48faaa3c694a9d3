"""Commits of changes: rows added and deleted, segments merged, accelerator kept up to date."""

import errno
import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.accelerator import MIN_ROWS, build_accelerator
from cde_retrievers.index.compaction import compacted, merged_tail
from cde_retrievers.index.manifest import Manifest, SegmentEntry
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.segment_writer import write_deletions
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore

logger = logging.getLogger(__name__)
_STALE_SHARE = 0.25  # share of rows outside the accelerator from which it is rebuilt


def commit_change(
    store: IndexStore, before: Snapshot, added: SegmentEntry | None, deleted: Iterable[int], named: int
) -> Manifest:
    """Serve the next generation, with an added segment or without deleted rows.

    Args:
        store: store of the index.
        before: the generation being served.
        added: a segment that was just written.
        deleted: rows of `before` to delete.
        named: number of documents that were assigned an id so far.
    """
    entries = _without(store, before, deleted)
    if added is not None:
        entries = (*entries, added)
    after = before.manifest.changed(generation=before.manifest.generation + 1, segments=entries, named=named)
    return store.commit(_tidied(store, after))


def _tidied(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest with segments merged, or unchanged if the disk has no space for that."""
    rows = sum(entry.rows for entry in manifest.segments)
    try:
        return compact(store, manifest) if rows > 2 * manifest.documents else _merged(store, manifest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        logger.warning("there is no space in %s to merge its files; the next change tries again", store.directory)
        store.sweep(manifest)  # what was merged until then
        return manifest


def compact(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest without deleted rows, in as few segments as possible, with a new accelerator if any."""
    entries = compacted(store.home, manifest.segments, manifest.width)
    return accelerated(store, manifest.changed(segments=entries, accelerator=None))


def accelerated(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest with an accelerator over all segments, if its kind has one and there are enough rows."""
    if manifest.kind == "flat" or sum(entry.rows for entry in manifest.segments) < MIN_ROWS:
        return manifest.changed(accelerator=None)
    parts = [Segment(store.directory, entry, manifest.width).vectors for entry in manifest.segments]
    entry = build_accelerator(store.home, manifest.kind, manifest.segments, parts)
    return manifest.changed(accelerator=entry)


def _merged(store: IndexStore, manifest: Manifest) -> Manifest:
    """Merge recent segments; those covered by the accelerator stay until it is rebuilt."""
    covered = len(manifest.accelerator.segments) if manifest.accelerator else 0
    old, young = manifest.segments[:covered], manifest.segments[covered:]
    young = merged_tail(store.home, young, manifest.width)
    manifest = manifest.changed(segments=(*old, *young))
    uncovered = sum(entry.rows for entry in young)
    if manifest.kind != "flat" and uncovered > max(MIN_ROWS, _STALE_SHARE * sum(entry.rows for entry in old)):
        return accelerated(store, manifest)
    return manifest


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
