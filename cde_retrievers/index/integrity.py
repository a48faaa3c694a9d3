"""Integrity of an index's files: which are damaged, and what can still be read without them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.entries import SegmentEntry
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.ownership import SEGMENTS
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.segment_files import DamagedFileError
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.vector_format import VectorFormat

UNKNOWN_SOURCES = "so the index does not know its sources"


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file of a segment that was changed or lost since it was written.

    Attributes:
        segment: the segment it belongs to.
        name: name of the file.
        damage: what is wrong with it, path included.
    """

    segment: SegmentEntry
    name: str
    damage: str


def damaged_files(directory: Path, manifest: Manifest, trusted: Collection[str] = ()) -> Iterator[DamagedFile]:
    """Yield every damaged file of the segments in a manifest.

    Args:
        directory: directory of the index.
        manifest: the generation.
        trusted: names of segments that were checked before; of these only the deletions are checked again.
    """
    for segment in manifest.segments:
        deletions = (segment.deletions,) if segment.deletions else ()
        for file in deletions if segment.name in trusted else (*segment.files, *deletions):
            damage = file.damage(directory, SEGMENTS, segment.name)
            if damage is not None:
                yield DamagedFile(segment, file.name, damage)


def check_segments(directory: Path, manifest: Manifest, trusted: Collection[str] = ()) -> None:
    """Raise IndexFileError if a segment is damaged; arguments as in `damaged_files`."""
    damaged = list(damaged_files(directory, manifest, trusted))
    if damaged:
        segments = {file.segment.name: file.segment for file in damaged}.values()
        readable = manifest.documents - sum(segment.rows - segment.deleted for segment in segments)
        raise IndexFileError(
            f"{_joined(damaged)}. Restore these from a copy, or read what is undamaged (at least {max(readable, 0)} of "
            f"{manifest.documents} documents can be searched) with ContextualIndex.open(path, salvage=True)"
        )


def check_staged_segments(directory: Path, manifest: Manifest) -> None:
    """Raise IndexFileError if what was built before an interruption is damaged."""
    damaged = list(damaged_files(directory, manifest))
    if damaged:
        raise IndexFileError(f"{_joined(damaged)}. Restore these from a copy, or remove {directory} and build again")


def accelerator_damage(directory: Path, manifest: Manifest) -> tuple[str, ...]:
    """What is wrong with the accelerator of a generation; empty if it is undamaged, or there is none."""
    damage = manifest.accelerator and manifest.accelerator.file.damage(directory)
    return (damage,) if damage else ()


def sources_damage(directory: Path, manifest: Manifest) -> tuple[str, ...]:
    """What is wrong with the record of the sources; empty if it is undamaged, or there is none."""
    damage = manifest.sources and manifest.sources.damage(directory)
    return (f"{damage}, {UNKNOWN_SOURCES}",) if damage else ()


def salvaged(directory: Path, manifest: Manifest) -> Snapshot:
    """Open what is undamaged of a generation; the snapshot's `damaged` lists the rest."""
    damaged = list(damaged_files(directory, manifest))
    damage = [file.damage for file in damaged]
    segments = []
    for entry in manifest.segments:
        names = {file.name for file in damaged if file.segment is entry}
        segment = _salvaged_segment(directory, entry, manifest.vector_format, names, damage)
        if segment is not None:
            segments.append(segment)
    damage += [*accelerator_damage(directory, manifest), *sources_damage(directory, manifest)]
    readable = manifest.changed(segments=tuple(segment.entry for segment in segments), accelerator=None)
    return Snapshot(readable, segments, damaged=tuple(damage))


def _salvaged_segment(
    directory: Path, entry: SegmentEntry, form: VectorFormat, damaged: set[str], damage: list[str]
) -> Segment | None:
    """Open what is undamaged of a segment, or return None; damage that shows only now is added to `damage`."""
    while damaged < {file.name for file in entry.files}:
        if entry.deletions is not None and entry.deletions.name in damaged:
            # Which of its documents were deleted is unknown: none is shown rather than a deleted one.
            return None
        try:
            segment = Segment(directory, entry, form, frozenset(damaged))
            segment.live_rows(entry)
        except DamagedFileError as error:
            damaged.add(error.name)
            damage.append(str(error))
        else:
            return segment
    return None


def _joined(damaged: list[DamagedFile]) -> str:
    return "; ".join(file.damage for file in damaged)
