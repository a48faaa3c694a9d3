"""The directory of an index: opening a generation, replacing it by the next, and removing what no generation needs."""

import logging
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ContextFileError, IndexFileError
from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.contexts import context_name, read_context
from cde_retrievers.index.integrity import (
    UNKNOWN_SOURCES,
    accelerator_damage,
    check_segments,
    salvaged,
    sources_damage,
)
from cde_retrievers.index.manifest import SERVED, STAGED, Manifest, read_manifest, write_manifest
from cde_retrievers.index.ownership import CONTEXTS, SEGMENTS, OwnedDirectory, checked_marker, write_marker
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.symlinks import is_there
from cde_retrievers.storage.scratch import sweep as sweep_scratch
from cde_retrievers.storage.sync import sync_directory

logger = logging.getLogger(__name__)
_ATTEMPTS = 5


class IndexStore:
    """The files of an index, read by anyone and written by whoever holds the writer's lock.

    Args:
        directory: directory of the index.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._segments: dict[str, Segment] = {}
        self._accelerator: tuple[str, Accelerator] | None = None
        self._home: OwnedDirectory | None = None

    @property
    def is_served(self) -> bool:
        """Whether there is a finished generation; it may be damaged."""
        return is_there(self.directory / SERVED)

    def served(self) -> Manifest:
        """Read the manifest of the generation that is served.

        Raises:
            IndexFileError: it is missing or damaged.
        """
        try:
            return read_manifest(self.directory / SERVED).changed(staging=None)
        except FileNotFoundError as error:
            if not self.directory.is_dir():
                raise IndexFileError(
                    f"{self.directory} does not exist, so it holds no index; make one with "
                    f"ContextualIndex.build(documents, embedder, path), or give the path it was moved to"
                ) from error
            staged = self.staged()
            if staged is None:
                raise IndexFileError(
                    f"{self.directory} holds no index: {SERVED} is missing; make one with "
                    f"ContextualIndex.build(documents, embedder, path)"
                ) from error
            raise IndexFileError(
                f"the index in {self.directory} is not finished: building it was interrupted with {staged.documents} "
                f"documents done; call build() again with the same documents, and it continues from there"
            ) from error

    def staged(self) -> Manifest | None:
        """Read the manifest of the generation that is being built or was interrupted; None if there is none.

        Raises:
            IndexFileError: it is damaged.
        """
        try:
            return read_manifest(self.directory / STAGED)
        except FileNotFoundError:
            return None

    def open(self) -> tuple[Snapshot, CorpusContext]:
        """Open the served generation and its context, every file checked against its sum.

        A damaged accelerator or record of sources is left out, since it can be made again; the snapshot's `damaged`
        names it.

        Raises:
            IndexFileError: files are missing or damaged; names them all.
            ContextFileError: the context is missing or damaged.
        """
        snapshot, context = self._read(self._checked)
        for damage in snapshot.damaged:
            if damage.endswith(UNKNOWN_SOURCES):
                logger.warning("%s; record them again with `cde-retrievers add INDEX SOURCE --upsert`", damage)
            else:
                logger.warning("%s; searches are exact, and slower, until optimize() rebuilds it", damage)
        return snapshot, context

    def salvage(self) -> tuple[Snapshot, CorpusContext]:
        """Open what is undamaged of the served generation; the snapshot's `damaged` lists the rest.

        Raises:
            IndexFileError: the manifest is missing or damaged.
            ContextFileError: the context is missing or damaged.
        """
        return self._read(lambda manifest: salvaged(self.directory, manifest))

    def _read(self, read: Callable[[Manifest], Snapshot]) -> tuple[Snapshot, CorpusContext]:
        for _ in range(_ATTEMPTS):
            manifest = self.served()
            try:
                snapshot, context = read(manifest), read_context(self.directory, manifest)
            except (FileNotFoundError, IndexFileError, ContextFileError):
                # A writer may have replaced the generation, and removed its files, while they were being read.
                if self.served() == manifest:
                    raise
                continue
            if snapshot.damaged and self.served() != manifest:
                continue
            return snapshot, context
        raise IndexFileError(f"{self.directory} is replaced faster than it can be opened; try again")

    def _checked(self, manifest: Manifest) -> Snapshot:
        checked_marker(self.directory, [manifest.identity])
        check_segments(self.directory, manifest, self._segments)
        slow, lost = accelerator_damage(self.directory, manifest), sources_damage(self.directory, manifest)
        manifest = manifest.changed(accelerator=None) if slow else manifest
        return self.snapshot(manifest.changed(sources=None) if lost else manifest, (*slow, *lost))

    def snapshot(self, manifest: Manifest, damaged: tuple[str, ...] = ()) -> Snapshot:
        """Open a generation whose files were checked or just written, sharing what is already open.

        Args:
            manifest: the generation.
            damaged: descriptions of the damaged files that are left out.
        """
        self._segments = {
            entry.name: self._segments.get(entry.name) or Segment(self.directory, entry, manifest.vector_format)
            for entry in manifest.segments
        }
        accelerator = None
        try:
            accelerator = self._opened_accelerator(manifest)
        except IndexFileError as error:
            manifest, damaged = manifest.changed(accelerator=None), (*damaged, str(error))
        return Snapshot(manifest, list(self._segments.values()), accelerator, damaged)

    def _opened_accelerator(self, manifest: Manifest) -> Accelerator | None:
        entry = manifest.accelerator
        if entry is None:
            self._accelerator = None
            return None
        if self._accelerator is None or self._accelerator[0] != entry.file.name:
            self._accelerator = (
                entry.file.name,
                Accelerator(self.directory, entry, manifest.kind, manifest.vector_format.dimensions),
            )
        return self._accelerator[1]

    @property
    def home(self) -> OwnedDirectory:
        """The directory as its writer sees it, after `claim`."""
        if self._home is None:
            raise AssertionError("the directory was not claimed")
        return self._home

    def claim(self) -> None:
        """Make sure that the directory is this index's own before anything is written; the lock is held.

        Raises:
            IndexFileError: the marker or a manifest is damaged, or they belong to two indexes.
        """
        manifests = self._manifests()
        home = checked_marker(self.directory, [manifest.identity for manifest in manifests])
        if home is None:
            identity = next((manifest.identity for manifest in manifests if manifest.identity), None)
            home = write_marker(self.directory, identity, {name for manifest in manifests for name in manifest.names})
        self._home = home

    def _manifests(self) -> list[Manifest]:
        return [m for m in (self.served() if self.is_served else None, self.staged()) if m is not None]

    def commit(self, manifest: Manifest) -> Manifest:
        """Serve this generation from now on. Everything it lists must already be on the device.

        Returns:
            The manifest as it is served.
        """
        manifest = manifest.changed(identity=self.home.identity)
        write_manifest(self.directory / SERVED, manifest)
        return manifest

    def stage(self, manifest: Manifest) -> Manifest:
        """Record how far the next generation is, and return the manifest as recorded."""
        manifest = manifest.changed(identity=self.home.identity)
        write_manifest(self.directory / STAGED, manifest)
        return manifest

    def serve_staged(self, manifest: Manifest) -> Manifest:
        """Serve the staged generation in place of the present one, in one instant.

        Returns:
            The manifest as it is served.
        """
        # With its settings still in it: after a kill before the next line, the same call continues from here.
        manifest = self.stage(manifest)
        (self.directory / STAGED).replace(self.directory / SERVED)
        sync_directory(self.directory)
        return manifest.changed(staging=None)

    def unstage(self) -> None:
        """Discard the manifest of the generation that was being built."""
        (self.directory / STAGED).unlink(missing_ok=True)
        sync_directory(self.directory)  # before its segments are removed

    def set_aside_damaged_staging(self) -> None:
        """Rename a damaged `next.json`, from which neither a build nor a refit can continue.

        A first build has no other manifest to say what its files are, so they are renamed with it.
        """
        try:
            self.staged()
        except IndexFileError as error:
            aside = self.directory / f"damaged-{uuid4().hex}-"
            # The manifest last: after a kill in between, the next call sets the rest aside.
            for name in (STAGED,) if self.is_served else (SEGMENTS, CONTEXTS, STAGED):
                if is_there(self.directory / name):
                    (self.directory / name).rename(f"{aside}{name}")
            logger.warning("%s. The interrupted work must start over; what was there is kept in %s*", error, aside)

    def sweep(self, *written: Manifest) -> None:
        """Remove what this index made and no generation lists: leftovers of killed writers, and what was replaced.

        Args:
            written: further manifests whose files stay.
        """
        manifests = [*self._manifests(), *written]
        if not manifests:
            return  # what is needed is unknown
        for name in (SERVED, STAGED):
            sweep_scratch(self.directory / name)
        listed = {name for manifest in manifests for name in manifest.names}
        listed |= {context_name(self.directory, manifest) for manifest in manifests}
        for entry in list(self.home.own_entries()):
            if entry.relative_to(self.directory).as_posix() not in listed:
                self.home.remove(entry)
