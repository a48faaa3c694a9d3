"""Compaction: segments are merged, deleted rows dropped, and the accelerator rebuilt when it covers too few rows."""

import errno
import logging
from collections.abc import Sequence

from cde_retrievers.index.accelerator import MIN_ROWS, build_accelerator
from cde_retrievers.index.columns import ColumnsBuilder
from cde_retrievers.index.entries import SegmentEntry
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.ownership import OwnedDirectory
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.segment_writer import SegmentWriter
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.vector_format import VectorFormat
from cde_retrievers.sparse.postings import Postings

logger = logging.getLogger(__name__)
FAN_IN = 8
"""Number of neighbours in one size class that are merged into one segment of the next."""
MAX_ROWS = 131_072
"""Largest segment, which limits the loss from one damaged file."""
_STALE_SHARE = 0.25  # share of rows outside the accelerator from which it is rebuilt
_COPIED_AT_ONCE = 1_024


def compacted(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest without deleted rows, in as few segments as possible, with a new accelerator if any."""
    segments = _rewritten(store.home, manifest.segments, manifest.vector_format)
    return accelerated(store, manifest.changed(segments=segments, accelerator=None))


def partly_compacted(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest after the merges that are due; unchanged if the disk has no space for them."""
    rows = sum(entry.rows for entry in manifest.segments)
    try:
        return compacted(store, manifest) if rows > 2 * manifest.documents else _merged(store, manifest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        logger.warning("there is no space in %s to merge its files; the next change tries again", store.directory)
        store.sweep(manifest)  # what was merged until then
        return manifest


def accelerated(store: IndexStore, manifest: Manifest) -> Manifest:
    """Return the manifest with an accelerator over all segments, if its kind has one and there are enough rows."""
    if manifest.kind == "flat" or sum(entry.rows for entry in manifest.segments) < MIN_ROWS:
        return manifest.changed(accelerator=None)
    parts = [Segment(store.directory, entry, manifest.vector_format).vectors for entry in manifest.segments]
    entry = build_accelerator(store.home, manifest.kind, manifest.segments, parts)
    return manifest.changed(accelerator=entry)


def _merged(store: IndexStore, manifest: Manifest) -> Manifest:
    """Merge recent segments; those covered by the accelerator stay until it is rebuilt."""
    covered = len(manifest.accelerator.segments) if manifest.accelerator else 0
    old, young = manifest.segments[:covered], manifest.segments[covered:]
    young = merged_tail(store.home, young, manifest.vector_format)
    manifest = manifest.changed(segments=(*old, *young))
    uncovered = sum(entry.rows for entry in young)
    if manifest.kind != "flat" and uncovered >= max(MIN_ROWS, _STALE_SHARE * sum(entry.rows for entry in old)):
        return accelerated(store, manifest)
    return manifest


def merged_tail(home: OwnedDirectory, entries: Sequence[SegmentEntry], form: VectorFormat) -> tuple[SegmentEntry, ...]:
    """Merge the last segments while there are too many of one size."""
    result = list(entries)
    while _should_merge(result[-FAN_IN:]):
        result[-FAN_IN:] = _merge(home, result[-FAN_IN:], form)
    return tuple(result)


def _rewritten(home: OwnedDirectory, entries: Sequence[SegmentEntry], form: VectorFormat) -> tuple[SegmentEntry, ...]:
    """Rewrite the segments without deleted rows, in as few as `MAX_ROWS` allows."""
    result: list[SegmentEntry] = []
    group: list[SegmentEntry] = []
    for entry in entries:
        if group and _live(group) + _live([entry]) > MAX_ROWS:
            result += _merge(home, group, form)
            group = []
        group.append(entry)
    return (*result, *_merge(home, group, form))


def _should_merge(tail: Sequence[SegmentEntry]) -> bool:
    sizes = [_live([entry]) for entry in tail]
    of_one_class = max(sizes) < FAN_IN * max(1, sizes[-1]) if sizes else False
    return len(tail) == FAN_IN and of_one_class and sum(sizes) <= MAX_ROWS


def _live(entries: Sequence[SegmentEntry]) -> int:
    return sum(entry.rows - entry.deleted for entry in entries)


def _merge(home: OwnedDirectory, entries: Sequence[SegmentEntry], form: VectorFormat) -> list[SegmentEntry]:
    """Copy the live rows into one segment; return no segment if nothing is left. Postings are in memory meanwhile."""
    rows = _live(entries)
    if rows == 0 or (len(entries) == 1 and entries[0].deleted == 0 and entries[0].has_columns):
        return list(entries) if rows else []
    segments = [Segment(home.path, entry, form) for entry in entries]
    kept = [segment.live_rows(segment.entry).nonzero()[0] for segment in segments]
    columns = ColumnsBuilder()
    with SegmentWriter(home, rows, form) as writer:
        for segment, live in zip(segments, kept, strict=True):
            for start in range(0, len(live), _COPIED_AT_ONCE):
                chunk = live[start : start + _COPIED_AT_ONCE]
                # As they are stored: documents of an earlier release may be nested deeper than what is taken in now.
                lines = [(segment.ids[row], segment.line(row)) for row in chunk.tolist()]
                writer.write_lines(lines, segment.codes[chunk])
            segment.append_columns(columns, live)
        has_postings = all(entry.has_postings for entry in entries)
        parts = ((segment.postings, live) for segment, live in zip(segments, kept, strict=True))
        by_text = all(entry.by_text for entry in entries)
        postings = Postings.joined(parts) if has_postings else None
        return [writer.close(columns.fields(), postings, by_text=by_text)]
