"""Copying an index: the files of the served generation only, possibly replacing a directory of an index."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from cde_retrievers.context.persistence import HEADER_FILE, VECTORS_FILE
from cde_retrievers.errors import IndexFileError, PathInUseError
from cde_retrievers.index.contexts import context_name
from cde_retrievers.index.lock import HOLDER_FILE, LOCK_FILE
from cde_retrievers.index.manifest import SERVED, STAGED, Manifest
from cde_retrievers.index.ownership import CONTEXTS, MARKER, PARTS, SEGMENTS, OwnedDirectory, read_marker
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.symlinks import is_directory, is_file, obstacle
from cde_retrievers.storage.scratch import is_scratch

_KNOWN = {SERVED, STAGED, MARKER, LOCK_FILE, HOLDER_FILE, SEGMENTS, CONTEXTS}


def copy_files(source: Path, target: Path) -> None:
    """Copy the index in `source`, whose lock is held, into the empty directory `target`.

    Raises:
        IndexFileError: there is no index, or a file of it is missing or a link.
    """
    names = [SERVED, *_listed_files(source, IndexStore(source).served())]
    # One by one: `shutil.copytree` would continue after an error and hide its cause.
    for name in [*names, MARKER] if is_file(source / MARKER) else names:
        wrong = obstacle(source, *name.split("/"))
        if wrong is not None:
            raise IndexFileError(f"{wrong}; restore it from a copy")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def _listed_files(directory: Path, manifest: Manifest) -> Iterator[str]:
    for name in (HEADER_FILE, VECTORS_FILE):
        yield f"{context_name(directory, manifest)}/{name}"
    for segment in manifest.segments:
        for file in (*segment.files, *((segment.deletions,) if segment.deletions else ())):
            yield f"{SEGMENTS}/{segment.name}/{file.name}"
    if manifest.accelerator is not None:
        yield manifest.accelerator.file.name
    if manifest.sources is not None:
        yield manifest.sources.name


def is_only_index(directory: Path) -> bool:
    """Whether a directory holds an index and nothing else, and so may be replaced as a whole.

    Raises:
        PathInUseError: the index contains files of others; the message names them.
    """
    try:
        manifest = IndexStore(directory).served()
        home = read_marker(directory) or OwnedDirectory(directory, manifest.identity or "")
    except IndexFileError:
        return False
    listed = set(manifest.names)
    foreign = [str(entry.relative_to(directory)) for entry in _entries(directory) if not _is_own(entry, home, listed)]
    if foreign:
        raise PathInUseError(
            f"{directory} already holds other files ({', '.join(sorted(foreign)[:5])}); give a directory of its own, "
            f"such as a new one inside"
        )
    return True


def _entries(directory: Path) -> Iterator[Path]:
    """Yield its entries, those of its folders of segments and contexts, and those of each segment and context."""
    yield from directory.iterdir()
    for folder in (directory / SEGMENTS, directory / CONTEXTS):
        for entry in folder.iterdir() if is_directory(folder) else ():
            yield entry
            yield from entry.iterdir() if is_directory(entry) else ()


def _is_own(entry: Path, home: OwnedDirectory, listed: set[str]) -> bool:
    if not is_file(entry) and not is_directory(entry):
        return False
    if entry.parent == home.path and (entry.name in _KNOWN or is_scratch(entry)):
        return True
    if home.is_own(entry) or entry.relative_to(home.path).as_posix() in listed:
        return True
    return entry.name in PARTS and is_file(entry) and entry.parent.parent.parent == home.path
