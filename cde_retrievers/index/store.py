"""The directory of an index: opening a generation, putting the next one in its place, removing what is left over."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.persistence import HEADER_FILE, VECTORS_FILE
from cde_retrievers.errors import ContextFileError, IndexFileError
from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.entries import is_there, obstacle, own_folder
from cde_retrievers.index.manifest import SERVED, STAGED, Manifest, SegmentEntry, read_manifest, write_manifest
from cde_retrievers.index.ownership import (
    CONTEXTS,
    SCRATCH,
    SEGMENTS,
    OwnedDirectory,
    checked_name,
    read_marker,
    write_marker,
)
from cde_retrievers.index.segment import DamagedFileError, Segment, damage_of
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.storage.scratch import sweep as sweep_scratch
from cde_retrievers.storage.sync import sync_directory

logger = logging.getLogger(__name__)
_ATTEMPTS = 5
_CONTEXT_DIGITS = 16  # of its fingerprint, in the name of its directory
_Opened = tuple[Snapshot, CorpusContext]


class IndexStore:
    """Reads and replaces generations. Writing asks for the writer's lock, which the caller holds.

    Args:
        directory: of the index.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, Segment] = {}
        self._accelerator: tuple[str, Accelerator] | None = None
        self._home: OwnedDirectory | None = None

    @property
    def is_served(self) -> bool:
        """Whether there is a finished generation; it may be damaged."""
        return is_there(self.directory / SERVED)

    def served(self) -> Manifest:
        """The manifest of the generation that is served.

        Raises:
            IndexFileError: there is none, or it is damaged.
        """
        try:
            return read_manifest(self.directory / SERVED).changed(staging=None)
        except FileNotFoundError as error:
            if not self.directory.is_dir():
                raise IndexFileError(
                    f"{self.directory} holds no index: there is no such directory; make one with "
                    f"ContextualIndex.build(documents, embedder, path), or give the path it was moved to"
                ) from error
            staged = self.staged()
            if staged is None:
                raise IndexFileError(
                    f"{self.directory} holds no index: there is no {SERVED} in it; make one with "
                    f"ContextualIndex.build(documents, embedder, path)"
                ) from error
            raise IndexFileError(
                f"the index in {self.directory} is not finished: building it was interrupted with {staged.documents} "
                f"documents done; call build() again with the same documents, and it continues from there"
            ) from error

    def staged(self) -> Manifest | None:
        """The generation that is being built, or whose building was interrupted.

        Raises:
            IndexFileError: its manifest is damaged.
        """
        try:
            return read_manifest(self.directory / STAGED)
        except FileNotFoundError:
            return None

    def check_staged(self, manifest: Manifest) -> None:
        """Make sure that what was built before an interruption is undamaged.

        Raises:
            IndexFileError: it is not.
        """
        damaged = [wrong for _, _, wrong in self._damage(manifest)]
        if damaged:
            raise IndexFileError(
                f"{'; '.join(damaged)}. Restore these from a copy, or remove {self.directory} and build again"
            )

    def context(self, manifest: Manifest) -> CorpusContext:
        """The context of a generation.

        Raises:
            ContextFileError: it is missing or damaged, or another one lies in its place.
        """
        path = self.directory / self.context_name(manifest)
        for name in (HEADER_FILE, VECTORS_FILE):
            wrong = obstacle(self.directory, CONTEXTS, path.name, name)
            if wrong is not None:
                raise ContextFileError(f"{wrong}; restore the context from a copy")
        context = CorpusContext.load(path)
        if (context.fingerprint, context.model_fingerprint) != (manifest.context, manifest.model_fingerprint):
            raise ContextFileError(
                f"{path} holds context {context.fingerprint} of model {context.model_fingerprint}, but the index was "
                f"built under {manifest.context} of model {manifest.model_fingerprint}; restore that from a copy"
            )
        return context

    def context_name(self, manifest: Manifest) -> str:
        """Where the context of a generation lies, relative to the directory and with slashes."""
        digits = manifest.context[:_CONTEXT_DIGITS]
        name = checked_name(manifest.identity or "", digits)
        if not is_there(self.directory / CONTEXTS / name):
            name = digits  # as an earlier release called it
        return f"{CONTEXTS}/{name}"

    def open(self) -> _Opened:
        """The served generation and its context, every file checked against its sum.

        A damaged accelerator is done without, since it can be made again: the snapshot's `damaged` names it.

        Raises:
            IndexFileError: files are missing or damaged; names them all.
            ContextFileError: the context is missing or damaged.
        """
        snapshot, context = self._read(self._checked)
        for wrong in snapshot.damaged:
            logger.warning("%s; searches are exact, and slower, until optimize() makes it again", wrong)
        return snapshot, context

    def salvage(self) -> _Opened:
        """What is undamaged of the served generation; the snapshot's `damaged` says what is wrong with each file.

        Raises:
            IndexFileError: the manifest is missing or damaged.
            ContextFileError: the context is missing or damaged.
        """
        return self._read(self._undamaged)

    def _read(self, read: Callable[[Manifest], Snapshot]) -> _Opened:
        for _ in range(_ATTEMPTS):
            manifest = self.served()
            try:
                snapshot, context = read(manifest), self.context(manifest)
            except (FileNotFoundError, IndexFileError, ContextFileError):
                # A writer may have replaced the generation, and removed its files, while they were being looked at.
                if self.served() == manifest:
                    raise
                continue
            if snapshot.damaged and self.served() != manifest:
                continue
            return snapshot, context
        raise IndexFileError(f"{self.directory} is replaced faster than it can be opened; try again")

    def _checked(self, manifest: Manifest) -> Snapshot:
        self._checked_marker([manifest])
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

    def _undamaged(self, manifest: Manifest) -> Snapshot:
        damaged = list(self._damage(manifest))
        wrong = [wrong for _, _, wrong in damaged]
        segments = []
        for entry in manifest.segments:
            names = {name for other, name, _ in damaged if other is entry}
            segment = self._salvaged(entry, manifest.width, names, wrong)
            if segment is not None:
                segments.append(segment)
        kept = manifest.changed(segments=tuple(segment.entry for segment in segments), accelerator=None)
        return Snapshot(kept, segments, damaged=(*wrong, *self._damage_of_accelerator(manifest)))

    def _salvaged(self, entry: SegmentEntry, width: int, damaged: set[str], wrong: list[str]) -> Segment | None:
        """What is undamaged of a segment, or None; `wrong` is told of damage that shows only now."""
        while damaged < {file.name for file in entry.files}:
            if entry.deletions is not None and entry.deletions.name in damaged:
                # Which of its documents were deleted is not known any more: none is shown rather than a deleted one.
                return None
            try:
                segment = Segment(self.directory, entry, width, frozenset(damaged))
                segment.live_rows(entry)
            except DamagedFileError as error:
                damaged.add(error.name)
                wrong.append(str(error))
            else:
                return segment
        return None

    def snapshot(self, manifest: Manifest, damaged: tuple[str, ...] = ()) -> Snapshot:
        """A generation whose files have been checked, or were just written; what is open already is shared."""
        for entry in manifest.segments:
            if entry.name not in self._open:
                self._open[entry.name] = Segment(self.directory, entry, manifest.width)
        names = [entry.name for entry in manifest.segments]
        self._open = {name: segment for name, segment in self._open.items() if name in names}
        accelerator = None
        try:
            accelerator = self._opened_accelerator(manifest)
        except IndexFileError as error:
            manifest, damaged = manifest.changed(accelerator=None), (*damaged, str(error))
        return Snapshot(manifest, [self._open[name] for name in names], accelerator, damaged)

    def _opened_accelerator(self, manifest: Manifest) -> Accelerator | None:
        entry = manifest.accelerator
        if entry is None:
            self._accelerator = None
            return None
        if self._accelerator is None or self._accelerator[0] != entry.file.name:
            self._accelerator = (
                entry.file.name,
                Accelerator(self.directory, entry, manifest.kind, manifest.width),
            )
        return self._accelerator[1]

    def _damage(self, manifest: Manifest) -> Iterator[tuple[SegmentEntry, str, str]]:
        """(segment, file name, what is wrong) for every file that is not as it was written."""
        for entry in manifest.segments:
            files = () if entry.name in self._open else entry.files
            for name, wrong in damage_of(self.directory, entry, files):
                yield entry, name, wrong

    def _damage_of_accelerator(self, manifest: Manifest) -> tuple[str, ...]:
        wrong = manifest.accelerator and manifest.accelerator.file.damage(self.directory)
        return (wrong,) if wrong else ()

    @property
    def home(self) -> OwnedDirectory:
        """The directory for who writes to it, after `claim`."""
        if self._home is None:
            raise AssertionError("the directory was not claimed")
        return self._home

    def claim(self) -> None:
        """Make sure that the directory is this index's own, before anything is written; the lock is held.

        Raises:
            IndexFileError: the marker or a manifest is damaged, or they are of two indexes.
        """
        manifests = self._manifests()
        home = self._checked_marker(manifests)
        if home is None:
            identity = next((manifest.identity for manifest in manifests if manifest.identity), None)
            home = write_marker(self.directory, identity, {name for manifest in manifests for name in manifest.names})
        self._home = home

    def _checked_marker(self, manifests: list[Manifest]) -> OwnedDirectory | None:
        home = read_marker(self.directory)
        found = {manifest.identity for manifest in manifests if manifest.identity}
        if home is not None:
            found.add(home.identity)
        if len(found) > 1:
            raise IndexFileError(
                f"{self.directory} holds files of two indexes: its marker and its manifests have different identities; "
                f"restore all of it from one copy"
            )
        return home

    def _manifests(self) -> list[Manifest]:
        return [m for m in (self.served() if self.is_served else None, self.staged()) if m is not None]

    def commit(self, manifest: Manifest) -> Manifest:
        """Serve this generation from now on. Everything it lists must be on the device already.

        Returns:
            The manifest as it is served.
        """
        manifest = manifest.changed(identity=self.home.identity)
        write_manifest(self.directory / SERVED, manifest)
        return manifest

    def stage(self, manifest: Manifest) -> Manifest:
        """Note how far the next generation is; returns what was noted."""
        manifest = manifest.changed(identity=self.home.identity)
        write_manifest(self.directory / STAGED, manifest)
        return manifest

    def serve_staged(self, manifest: Manifest) -> Manifest:
        """Serve the staged generation in place of the present one, in one instant.

        Returns:
            The manifest as it is served.
        """
        # With what was asked for still in it: who is killed before the next line goes on from here.
        manifest = self.stage(manifest)
        (self.directory / STAGED).replace(self.directory / SERVED)
        sync_directory(self.directory)
        return manifest.changed(staging=None)

    def unstage(self) -> None:
        """Forget the generation that was being built."""
        (self.directory / STAGED).unlink(missing_ok=True)
        sync_directory(self.directory)  # before its segments are removed

    def set_aside_damaged_staging(self) -> None:
        """Move a damaged `next.json` out of the way: neither a refit nor a build can continue from it.

        Where no generation is served, what was built moves with it: nothing else says whose documents these are.
        """
        try:
            self.staged()
        except IndexFileError as error:
            mark = f"damaged-{uuid4().hex}-"
            if self.is_served:
                (self.directory / STAGED).rename(self.directory / f"{mark}{STAGED}")
                logger.warning(
                    "%s. An interrupted refit must start over; %s may be deleted",
                    error,
                    self.directory / f"{mark}{STAGED}",
                )
                return
            for name in (SEGMENTS, CONTEXTS, STAGED):  # the manifest last, so that a kill leaves the rest to be moved
                if is_there(self.directory / name):
                    (self.directory / name).rename(self.directory / f"{mark}{name}")
            logger.warning(
                "%s. An interrupted build must start over; what it had written is kept in %s*",
                error,
                self.directory / mark,
            )

    def save_context(self, context: CorpusContext) -> None:
        """Keep the context of a generation that is about to be begun; no manifest lists it yet."""
        name = checked_name(self.home.identity, context.fingerprint[:_CONTEXT_DIGITS])
        target = own_folder(self.directory / CONTEXTS) / name
        scratch = self.directory / f"{SCRATCH}{self.home.new_name()}"
        try:
            scratch.mkdir()
            sync_directory(self.directory)
            context.save(scratch / name)
            self.home.remove(target)
            (scratch / name).rename(target)
            sync_directory(target.parent)
        finally:
            self.home.remove(scratch)

    def sweep(self, *written: Manifest) -> None:
        """Remove what this index made and no generation lists: what a killed writer left, and what was replaced.

        Args:
            written: further manifests whose files stay.
        """
        manifests = [*self._manifests(), *written]
        if not manifests:
            return  # nobody knows what is needed
        for name in (SERVED, STAGED):
            sweep_scratch(self.directory / name)
        listed = {name for manifest in manifests for name in manifest.names}
        listed |= {self.context_name(manifest) for manifest in manifests}
        for entry in list(self.home.own_entries()):
            if entry.relative_to(self.directory).as_posix() not in listed:
                self.home.remove(entry)
