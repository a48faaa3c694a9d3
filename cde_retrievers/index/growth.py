"""How an index keeps few segments however it grows: neighbours of similar size become one, and deleted rows go."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cde_retrievers.index.manifest import SegmentEntry
from cde_retrievers.index.segment import Segment, SegmentWriter

FAN_IN = 8
"""As many neighbours of one size class become one segment of the next."""
MAX_ROWS = 131_072
"""No segment grows beyond, so that one damaged file costs no more than this."""
_COPIED_AT_ONCE = 1_024

OpenSegment = Callable[[SegmentEntry], Segment]


def merged_tail(
    directory: Path, entries: Sequence[SegmentEntry], width: int, open_segment: OpenSegment
) -> tuple[SegmentEntry, ...]:
    """The segments, with the last ones merged while there are too many of one size."""
    result = list(entries)
    while _should_merge(result[-FAN_IN:]):
        result[-FAN_IN:] = _merge(directory, result[-FAN_IN:], width, open_segment)
    return tuple(result)


def compacted(
    directory: Path, entries: Sequence[SegmentEntry], width: int, open_segment: OpenSegment
) -> tuple[SegmentEntry, ...]:
    """The segments with no deleted rows, in as few as `MAX_ROWS` allows."""
    result: list[SegmentEntry] = []
    group: list[SegmentEntry] = []
    for entry in entries:
        if group and _live(group) + _live([entry]) > MAX_ROWS:
            result += _merge(directory, group, width, open_segment)
            group = []
        group.append(entry)
    return (*result, *_merge(directory, group, width, open_segment))


def _should_merge(tail: Sequence[SegmentEntry]) -> bool:
    sizes = [_live([entry]) for entry in tail]
    of_one_class = max(sizes) < FAN_IN * max(1, sizes[-1]) if sizes else False
    return len(tail) == FAN_IN and of_one_class and sum(sizes) <= MAX_ROWS


def _live(entries: Sequence[SegmentEntry]) -> int:
    return sum(entry.rows - entry.deleted for entry in entries)


def _merge(
    directory: Path, entries: Sequence[SegmentEntry], width: int, open_segment: OpenSegment
) -> list[SegmentEntry]:
    """One segment with the rows that count, copied piece by piece; none if nothing is left."""
    rows = _live(entries)
    if rows == 0 or (len(entries) == 1 and entries[0].deleted == 0):
        return list(entries) if rows else []
    with SegmentWriter(directory, rows, width) as writer:
        for entry in entries:
            segment = open_segment(entry)
            live = segment.live_rows(entry).nonzero()[0]
            for start in range(0, len(live), _COPIED_AT_ONCE):
                chunk = live[start : start + _COPIED_AT_ONCE]
                writer.write([segment.document(int(row)) for row in chunk], segment.vectors[chunk])
        return [writer.close()]
