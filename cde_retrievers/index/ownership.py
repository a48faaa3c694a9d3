"""Ownership of the files in a directory: an index changes only what it made itself.

An index first writes its marker, `identity.json`, which holds a random identity. Every name that the index gives later
ends in a check computed from this identity. So its own entries are known after a kill at any moment, although no list
of them is kept, and files of others do not have such names.

An index of an earlier release has no marker. It gets one at the first write if its manifest has an intact seal; the
names in this manifest are recorded in the marker, since they carry no check.
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.context.persistence import HEADER_FILE
from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.entries import COLUMNS, DOCUMENTS, LINES, POSTINGS, VECTORS
from cde_retrievers.index.symlinks import is_directory, is_file, is_there, new_file, obstacle
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.storage.sync import flush, sync_directory

MARKER = "identity.json"
SEGMENTS = "segments"
CONTEXTS = "contexts"
SCRATCH = "scratch-"
_VERSION = 1
_CHECKED = re.compile(
    r"(?:accelerator-|deleted-|scratch-|sources-)?([0-9a-f]{12}|[0-9a-f]{16})([0-9a-f]{8})(?:\.faiss|\.json)?"
)
# Files of segments and contexts, apart from lists of deletions.
PARTS = (VECTORS, DOCUMENTS, LINES, COLUMNS, POSTINGS, HEADER_FILE)


class _Marker(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    identity: Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")]
    adopted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnedDirectory:
    """The directory of an index that may be written to.

    Attributes:
        path: path of the directory.
        identity: identity of the index.
        adopted: further entries of the index, named by an earlier release; relative to the directory, with slashes.
    """

    path: Path
    identity: str
    adopted: frozenset[str] = frozenset()

    def new_name(self) -> str:
        """Return a new name that this index recognises as its own."""
        return checked_name(self.identity, secrets.token_hex(6))

    def is_own(self, entry: Path) -> bool:
        """Whether this index made the entry, judged by its name."""
        found = _CHECKED.fullmatch(entry.name)
        known = found is not None and found[1] + found[2] == checked_name(self.identity, found[1])
        return known or entry.relative_to(self.path).as_posix() in self.adopted

    def own_entries(self) -> Iterator[Path]:
        """Yield every entry that this index made, except manifests, the marker and the files of the lock."""
        for folder in (self.path, self.path / SEGMENTS, self.path / CONTEXTS):
            for entry in sorted(folder.iterdir()) if is_directory(folder) else ():
                if self.is_own(entry):
                    yield entry
                    if folder == self.path / SEGMENTS and is_directory(entry):
                        yield from filter(self.is_own, sorted(entry.iterdir()))

    def remove(self, entry: Path) -> None:
        """Remove an entry of this index; a link in its place stays, and so do files of others in a directory."""
        with suppress(OSError):  # the next writer tries again
            if is_file(entry):
                entry.unlink()
            elif is_directory(entry) and entry.name.startswith(SCRATCH):
                shutil.rmtree(entry)
            elif is_directory(entry):
                for part in entry.iterdir():
                    if is_file(part) and (part.name in PARTS or self.is_own(part)):
                        part.unlink()
                entry.rmdir()


def checked_name(identity: str, token: str) -> str:
    """Return the token followed by its check for an identity."""
    return token + sha256_of_text(f"{identity} {token}")[:8]


def read_marker(directory: Path) -> OwnedDirectory | None:
    """Read the marker of a directory; None if there is none, or if its writing was interrupted.

    Raises:
        IndexFileError: it is damaged, was edited, or is a link.
    """
    path = directory / MARKER
    if not is_there(path):
        return None
    remedy = "delete it, and the next change of the index rebuilds it from the manifest"
    wrong = obstacle(directory, MARKER)
    if wrong is not None:
        raise IndexFileError(f"{wrong}; {remedy}")
    if is_unwritten_marker(path):
        return None
    content = read_checksummed(path, IndexFileError, remedy, _VERSION)
    try:
        marker = _Marker.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise IndexFileError(f"{path} is not the marker of an index; {remedy}") from error
    return OwnedDirectory(directory, marker.identity, frozenset(marker.adopted))


def checked_marker(directory: Path, identities: Iterable[str | None]) -> OwnedDirectory | None:
    """Read the marker as `read_marker` does, and compare it with the identities that manifests name.

    Raises:
        IndexFileError: the marker is damaged, or marker and manifests belong to two indexes.
    """
    home = read_marker(directory)
    found = {identity for identity in (home and home.identity, *identities) if identity}
    if len(found) > 1:
        raise IndexFileError(
            f"{directory} holds files of two indexes: its marker and its manifests have different identities; restore "
            f"all of it from one copy"
        )
    return home


def write_marker(directory: Path, identity: str | None = None, adopted: Iterable[str] = ()) -> OwnedDirectory:
    """Mark a directory as that of an index; the writer's lock is held. Returns once the marker is on the device.

    Args:
        directory: a directory without a marker.
        identity: identity that its manifests have; a random one if None.
        adopted: names in these manifests.
    """
    marker = _Marker(identity=identity or secrets.token_hex(16), adopted=tuple(sorted(adopted)))
    path = directory / MARKER
    if is_file(path):
        path.unlink()  # empty: its writing was interrupted
    with new_file(path) as file:
        try:
            file.write(json.dumps(sealed(marker.model_dump(mode="json"), _VERSION)).encode("ascii"))
            file.flush()
            flush(file.fileno())
        except OSError:
            file.truncate(0)
            raise
    sync_directory(directory)
    sync_directory(directory.parent)
    return OwnedDirectory(directory, marker.identity, frozenset(marker.adopted))


def is_unwritten_marker(entry: Path) -> bool:
    """Whether this is a marker whose writing was interrupted; a power cut may leave zeros in it."""
    if entry.name != MARKER or not is_file(entry):
        return False
    with entry.open("rb") as file:
        return not file.read(1 << 16).strip(b"\0")
