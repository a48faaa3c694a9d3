"""Merging of segments: neighbours of similar size become one, and deleted rows are dropped."""

from collections.abc import Sequence

from cde_retrievers.index.manifest import SegmentEntry
from cde_retrievers.index.ownership import OwnedDirectory
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.segment_writer import SegmentWriter

FAN_IN = 8
"""Number of neighbours in one size class that are merged into one segment of the next."""
MAX_ROWS = 131_072
"""Largest segment, which limits the loss from one damaged file."""
_COPIED_AT_ONCE = 1_024


def merged_tail(home: OwnedDirectory, entries: Sequence[SegmentEntry], width: int) -> tuple[SegmentEntry, ...]:
    """Merge the last segments while there are too many of one size."""
    result = list(entries)
    while _should_merge(result[-FAN_IN:]):
        result[-FAN_IN:] = _merge(home, result[-FAN_IN:], width)
    return tuple(result)


def compacted(home: OwnedDirectory, entries: Sequence[SegmentEntry], width: int) -> tuple[SegmentEntry, ...]:
    """Rewrite the segments without deleted rows, in as few as `MAX_ROWS` allows."""
    result: list[SegmentEntry] = []
    group: list[SegmentEntry] = []
    for entry in entries:
        if group and _live(group) + _live([entry]) > MAX_ROWS:
            result += _merge(home, group, width)
            group = []
        group.append(entry)
    return (*result, *_merge(home, group, width))


def _should_merge(tail: Sequence[SegmentEntry]) -> bool:
    sizes = [_live([entry]) for entry in tail]
    of_one_class = max(sizes) < FAN_IN * max(1, sizes[-1]) if sizes else False
    return len(tail) == FAN_IN and of_one_class and sum(sizes) <= MAX_ROWS


def _live(entries: Sequence[SegmentEntry]) -> int:
    return sum(entry.rows - entry.deleted for entry in entries)


def _merge(home: OwnedDirectory, entries: Sequence[SegmentEntry], width: int) -> list[SegmentEntry]:
    """Copy the live rows into one segment, piece by piece; return no segment if nothing is left."""
    rows = _live(entries)
    if rows == 0 or (len(entries) == 1 and entries[0].deleted == 0):
        return list(entries) if rows else []
    with SegmentWriter(home, rows, width) as writer:
        for entry in entries:
            segment = Segment(home.path, entry, width)
            live = segment.live_rows(entry).nonzero()[0]
            for start in range(0, len(live), _COPIED_AT_ONCE):
                chunk = live[start : start + _COPIED_AT_ONCE]
                # As they are stored: documents of an earlier release may be nested deeper than what is taken in now.
                lines = [(segment.ids[row], segment.line(row)) for row in chunk.tolist()]
                writer.write_lines(lines, segment.vectors[chunk])
        return [writer.close()]
