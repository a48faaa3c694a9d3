"""What an index consists of: one small sealed file that is replaced as a whole, so that a generation is one instant.

`index.json` is the generation that is served; `next.json` one that is still being built, from nothing or beside it.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cde_retrievers.atomic import replace_json
from cde_retrievers.errors import IndexFileError
from cde_retrievers.files import sha256_of_file
from cde_retrievers.sealed import read_sealed, sealed

FORMAT_VERSION = 1
SERVED = "index.json"
STAGED = "next.json"
SEGMENTS = "segments"
CONTEXTS = "contexts"
ACCELERATORS = "accelerator-*.faiss"
Kind = Literal["flat", "ivf", "hnsw"]


class _Sealed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class FileEntry(_Sealed):
    """A file of an index, which never changes once it is listed.

    Attributes:
        name: path relative to the directory it belongs to.
        bytes: its size.
        sha256: of its content.
    """

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The entry of a file that was just written."""
        return cls(name=path.name, bytes=path.stat().st_size, sha256=sha256_of_file(path))

    def damage(self, directory: Path) -> str | None:
        """What is wrong with the file in `directory`, or None."""
        path = directory / self.name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != self.bytes:
            return f"{path} has {path.stat().st_size} bytes in place of {self.bytes}"
        return None if sha256_of_file(path) == self.sha256 else f"{path} was damaged or changed: its sha256 differs"


class SegmentEntry(_Sealed):
    """Documents and vectors that were written together.

    Attributes:
        name: of its directory under `segments/`.
        rows: documents in it, deleted ones included.
        files: vectors, documents, lines.
        deletions: the rows that no longer count; None if all do.
        deleted: how many these are.
    """

    name: str
    rows: int
    files: tuple[FileEntry, ...]
    deletions: FileEntry | None = None
    deleted: int = 0


class AcceleratorEntry(_Sealed):
    """A faiss index that proposes candidates among the rows of the first segments.

    Attributes:
        file: under the index's directory.
        rows: rows it covers, counted from the first segment on.
        segments: names of the segments that it covers.
    """

    file: FileEntry
    rows: int
    segments: tuple[str, ...]


class Staging(_Sealed):
    """How far a generation is that is still being built.

    Attributes:
        settings: what was asked for; another request does not go on with this one.
        batch: documents per commit.
        consumed: documents read from the source so far.
        digest: hash chain over these, to notice another source.
        seconds: spent embedding so far.
    """

    settings: dict[str, Any]
    batch: int
    consumed: int = 0
    digest: str = ""
    seconds: float = 0.0


class Manifest(_Sealed):
    """One generation of an index.

    Attributes:
        generation: counts up by one with every change.
        model_name: what the embedding model is loaded from.
        model_fingerprint: identity of that model.
        context: fingerprint of the context, which lies in `contexts/<fingerprint>`.
        width: length of a vector.
        kind: how large indexes are searched.
        named: documents without an id that were given one so far.
        segments: in the order they were written.
        accelerator: for kinds other than "flat", once there are enough rows.
        staging: None for a generation that is served.
    """

    generation: int
    model_name: str
    model_fingerprint: str
    context: str
    width: int
    kind: Kind
    named: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    accelerator: AcceleratorEntry | None = None
    staging: Staging | None = None

    @property
    def documents(self) -> int:
        """Documents that count."""
        return sum(segment.rows - segment.deleted for segment in self.segments)

    def changed(self, **fields: Any) -> Self:
        """This manifest with other values in some fields."""
        return self.model_copy(update=fields)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at `path`, in one instant."""
    replace_json(path, sealed(manifest.model_dump(mode="json"), FORMAT_VERSION))


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`.

    Raises:
        FileNotFoundError: there is none.
        IndexFileError: it is in no directory, is damaged, was edited, or was written by a later release.
    """
    remedy = f"restore it from a copy; the documents are still readable in {path.parent / SEGMENTS}/*/documents.jsonl"
    if path.parent.is_file():
        raise IndexFileError(f"{path.parent} is a file; an index is a directory")
    content = read_sealed(path, IndexFileError, remedy, FORMAT_VERSION)
    try:
        return Manifest(**content)
    except ValidationError as error:
        raise IndexFileError(f"{path} is not the manifest of an index: {error}; {remedy}") from error
