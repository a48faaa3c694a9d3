"""The directory of an index: opening a generation, putting the next one in its place, removing what is left over."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from cde_retrievers.context import CorpusContext
from cde_retrievers.durable import sync_directory
from cde_retrievers.errors import ContextFileError, IndexFileError
from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.lock import HOLDER_FILE, LOCK_FILE
from cde_retrievers.index.manifest import (
    ACCELERATORS,
    CONTEXTS,
    SEGMENTS,
    SERVED,
    STAGED,
    Manifest,
    SegmentEntry,
    read_manifest,
    write_manifest,
)
from cde_retrievers.index.segment import Segment, damage_of
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.scratch import is_scratch

logger = logging.getLogger(__name__)
_ATTEMPTS = 5


def belongs_to_index(entry: Path) -> bool:
    """Whether what lies in a directory has a name that an index, finished or not, gives its files."""
    names = {SERVED, STAGED, CONTEXTS, SEGMENTS, LOCK_FILE, HOLDER_FILE}
    return entry.name in names or entry.match(ACCELERATORS) or is_scratch(entry)


class IndexStore:
    """Reads and replaces generations. Writing asks for the writer's lock, which the caller holds.

    Args:
        directory: of the index.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, Segment] = {}
        self._accelerator: tuple[str, Accelerator] | None = None

    @property
    def is_served(self) -> bool:
        """Whether there is a finished generation."""
        return (self.directory / SERVED).is_file()

    def served(self) -> Manifest:
        """The manifest of the generation that is served.

        Raises:
            IndexFileError: there is none, or it is damaged.
        """
        try:
            return read_manifest(self.directory / SERVED).changed(staging=None)
        except FileNotFoundError as error:
            staged = self.staged()
            if staged is None:
                raise IndexFileError(
                    f"{self.directory} holds no index: there is no {SERVED} in it; make one with "
                    f"ContextualIndex.build(documents, embedder, path)"
                ) from error
            raise IndexFileError(
                f"the index in {self.directory} is not finished: building it was interrupted with {staged.documents} "
                f"documents done; call build() again with the same documents, and it goes on from there"
            ) from error

    def staged(self) -> Manifest | None:
        """The generation that is being built, or whose building was interrupted."""
        try:
            return read_manifest(self.directory / STAGED)
        except FileNotFoundError:
            return None

    def context(self, manifest: Manifest) -> CorpusContext:
        """The context of a generation.

        Raises:
            ContextFileError: it is missing or damaged.
        """
        return CorpusContext.load(self.context_path(manifest.context))

    def context_path(self, fingerprint: str) -> Path:
        """Where a context lies."""
        return self.directory / CONTEXTS / fingerprint[:16]

    def open(self) -> tuple[Snapshot, CorpusContext]:
        """The served generation and its context, every file checked against its sum.

        A damaged accelerator is done without, since it can be made again: the snapshot's `damaged` names it.

        Raises:
            IndexFileError: files are missing or damaged; names them all.
            ContextFileError: the context is missing or damaged.
        """
        for _ in range(_ATTEMPTS):
            manifest = self.served()
            try:
                snapshot, context = self._checked(manifest), self.context(manifest)
            except (FileNotFoundError, IndexFileError, ContextFileError):
                # A writer may have replaced the generation, and removed its files, while they were being looked at.
                if self.served() == manifest:
                    raise
                continue
            if snapshot.damaged and self.served() != manifest:
                continue
            for wrong in snapshot.damaged:
                logger.warning("%s; searches are exact, and slower, until optimize() makes it again", wrong)
            return snapshot, context
        raise IndexFileError(f"{self.directory} is replaced faster than it can be opened; try again")

    def _checked(self, manifest: Manifest) -> Snapshot:
        damaged = list(self._damage(manifest))
        if damaged:
            readable = manifest.documents - sum(e.rows - e.deleted for e in {e.name: e for e, _, _ in damaged}.values())
            raise IndexFileError(
                f"{'; '.join(wrong for _, _, wrong in damaged)}. Restore these from a copy, or read what is undamaged "
                f"(at least {max(readable, 0)} of {manifest.documents} documents can be searched) with "
                f"ContextualIndex.open(path, salvage=True)"
            )
        wrong = self._damage_of_accelerator(manifest)
        return self.snapshot(manifest.changed(accelerator=None) if wrong else manifest, wrong)

    def salvage(self) -> tuple[Snapshot, CorpusContext]:
        """What is undamaged of the served generation; the snapshot's `damaged` says what is wrong with each file.

        Raises:
            ContextFileError: the context is missing or damaged.
        """
        manifest = self.served()
        damaged = list(self._damage(manifest))
        segments, entries = [], []
        for entry in manifest.segments:
            names = frozenset(name for other, name, _ in damaged if other is entry)
            if entry.deletions is not None and entry.deletions.name in names:
                # Which of its documents were deleted is not known any more: none is shown rather than a deleted one.
                continue
            segments.append(Segment(self.directory, entry, names))
            entries.append(entry)
        kept = manifest.changed(segments=tuple(entries), accelerator=None)
        wrong = (*(wrong for _, _, wrong in damaged), *self._damage_of_accelerator(manifest))
        return Snapshot(kept, segments, damaged=wrong), self.context(manifest)

    def snapshot(self, manifest: Manifest, damaged: tuple[str, ...] = ()) -> Snapshot:
        """A generation whose files have been checked, or were just written; what is open already is shared."""
        for entry in manifest.segments:
            if entry.name not in self._open:
                self._open[entry.name] = Segment(self.directory, entry)
        names = [entry.name for entry in manifest.segments]
        self._open = {name: segment for name, segment in self._open.items() if name in names}
        return Snapshot(manifest, [self._open[name] for name in names], self._opened_accelerator(manifest), damaged)

    def _opened_accelerator(self, manifest: Manifest) -> Accelerator | None:
        entry = manifest.accelerator
        if entry is None:
            self._accelerator = None
            return None
        if self._accelerator is None or self._accelerator[0] != entry.file.name:
            self._accelerator = entry.file.name, Accelerator(self.directory, entry, manifest.kind)
        return self._accelerator[1]

    def commit(self, manifest: Manifest) -> None:
        """Serve this generation from now on. Everything it lists must be on the device already."""
        write_manifest(self.directory / SERVED, manifest)

    def stage(self, manifest: Manifest) -> None:
        """Note how far the next generation is."""
        write_manifest(self.directory / STAGED, manifest)

    def serve_staged(self, manifest: Manifest) -> Manifest:
        """Serve the staged generation in place of the present one, in one instant.

        Returns:
            The manifest as it is served.
        """
        # With what was asked for still in it: who is killed before the next line goes on from here.
        self.stage(manifest)
        (self.directory / STAGED).replace(self.directory / SERVED)
        sync_directory(self.directory)
        return manifest.changed(staging=None)

    def unstage(self) -> None:
        """Forget the generation that was being built."""
        (self.directory / STAGED).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove files that no generation lists: what a killed writer left, and what was replaced."""
        manifests = [m for m in (self.served() if self.is_served else None, self.staged()) if m is not None]
        segments = {entry.name for m in manifests for entry in m.segments}
        contexts = {self.context_path(m.context).name for m in manifests}
        self._keep(self.directory / SEGMENTS, segments)
        self._keep(self.directory / CONTEXTS, contexts)
        deletions = {e.deletions.name for m in manifests for e in m.segments if e.deletions is not None}
        accelerators = {m.accelerator.file.name for m in manifests if m.accelerator is not None}
        stale = [p for p in self.directory.glob(f"{SEGMENTS}/*/deleted-*.json") if p.name not in deletions]
        stale += [p for p in self.directory.glob(ACCELERATORS) if p.name not in accelerators]
        for path in stale:
            path.unlink(missing_ok=True)

    @staticmethod
    def _keep(folder: Path, names: set[str]) -> None:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True)

    def _damage(self, manifest: Manifest) -> Iterator[tuple[SegmentEntry, str, str]]:
        """(segment, file name, what is wrong) for every file that is not as it was written."""
        for entry in manifest.segments:
            files = () if entry.name in self._open else entry.files
            for name, wrong in damage_of(self.directory, entry, files):
                yield entry, name, wrong

    def _damage_of_accelerator(self, manifest: Manifest) -> tuple[str, ...]:
        wrong = manifest.accelerator and manifest.accelerator.file.damage(self.directory)
        return (wrong,) if wrong else ()
