"""The manifest of an index: one small sealed file that lists its parts and is replaced as a whole.

`index.json` is the generation that is served; `next.json` is one that is still being built.

A seal is not a signature: any program that can write the file can seal it. So names and numbers are checked against
what an index would write before any of them is used.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.ownership import CONTEXTS, SEGMENTS
from cde_retrievers.index.symlinks import is_there, obstacle
from cde_retrievers.index.vector_format import Dtype, VectorFormat
from cde_retrievers.storage.atomic import replace_json
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.hashing import sha256_of_file
from cde_retrievers.validation.problems import readable

# The first had no postings, the second neither `by_text` nor sources, the third neither columns nor formats of vectors.
FORMAT_VERSION, _OLDER = 4, (1, 2, 3)
SERVED = "index.json"
STAGED = "next.json"
VECTORS = "vectors.safetensors"
DOCUMENTS = "documents.jsonl"
LINES = "lines.json"
POSTINGS = "postings.safetensors"
COLUMNS = "columns.safetensors"
Kind = Literal["flat", "ivf", "hnsw"]

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Positive = Annotated[int, Field(ge=1, le=1 << 53)]
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
# Twelve random digits and the check of `ownership`, which earlier releases did not append.
_NAME = r"[0-9a-f]{12}([0-9a-f]{8})?"
SegmentName = Annotated[str, Field(pattern=rf"\A{_NAME}\z")]
_DELETIONS, _ACCELERATOR = rf"\Adeleted-{_NAME}\.json\z", rf"\Aaccelerator-{_NAME}\.faiss\z"
_SOURCES = rf"\Asources-{_NAME}\.json\z"


class _Sealed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), strict=True)


class FileEntry(_Sealed):
    """A file of an index, which never changes once it is listed.

    Attributes:
        name: name of the file in its directory.
        bytes: size of the file.
        sha256: SHA-256 of its content.
    """

    name: str
    bytes: Positive
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describe a file that was just written."""
        return cls(name=path.name, bytes=path.stat().st_size, sha256=sha256_of_file(path))

    def damage(self, root: Path, *folders: str) -> str | None:
        """Describe what is wrong with the file in these folders below `root`; None if it is undamaged."""
        path = root.joinpath(*folders, self.name)
        wrong = obstacle(root, *folders, self.name)
        if wrong is not None:
            return wrong
        try:
            found = path.stat().st_size
            if found != self.bytes:
                return f"{path} has {found} bytes instead of {self.bytes}"
            return None if sha256_of_file(path) == self.sha256 else f"{path} was damaged or changed: its sha256 differs"
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"


class DeletionsEntry(FileEntry):
    """The file that lists the deleted rows of a segment."""

    name: Annotated[str, Field(pattern=_DELETIONS)]


class AcceleratorFile(FileEntry):
    """The file of a faiss index."""

    name: Annotated[str, Field(pattern=_ACCELERATOR)]


class SourcesFile(FileEntry):
    """The file that records where the documents come from."""

    name: Annotated[str, Field(pattern=_SOURCES)]


class SegmentEntry(_Sealed):
    """Documents and vectors that were written together.

    Attributes:
        name: name of its directory in `segments/`.
        rows: number of documents, deleted ones included.
        files: vectors, documents, lines and columns, and postings under a context with term statistics; an earlier
            release wrote no columns.
        deletions: list of the deleted rows; None if there are none.
        deleted: number of deleted rows.
        by_text: whether the embedder of the index made every vector from the document's text, so that another document
            of the same text can have it too.
    """

    name: SegmentName
    rows: Positive
    files: tuple[FileEntry, ...]
    deletions: DeletionsEntry | None = None
    deleted: Count = 0
    by_text: bool = False

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if sorted({file.name for file in self.files} - {POSTINGS, COLUMNS}) != sorted((VECTORS, DOCUMENTS, LINES)):
            raise ValueError(f"segment {self.name} must consist of {VECTORS}, {DOCUMENTS} and {LINES}")
        if len(self.files) != len({file.name for file in self.files}):
            raise ValueError(f"segment {self.name} lists a file twice")
        if self.deleted > self.rows or (self.deleted == 0) != (self.deletions is None):
            raise ValueError(f"segment {self.name} has {self.deleted} of {self.rows} documents deleted")
        return self

    @property
    def has_postings(self) -> bool:
        """Whether words can be searched for."""
        return any(file.name == POSTINGS for file in self.files)

    @property
    def has_columns(self) -> bool:
        """Whether metadata can be filtered without reading the documents."""
        return any(file.name == COLUMNS for file in self.files)


class AcceleratorEntry(_Sealed):
    """A faiss index that proposes candidates among the rows of the first segments.

    Attributes:
        file: the file in the directory of the index.
        rows: number of rows it covers, from the first segment on.
        segments: names of the segments it covers.
    """

    file: AcceleratorFile
    rows: Positive
    segments: tuple[SegmentName, ...]


class Staging(_Sealed):
    """Progress of a generation that is still being built.

    Attributes:
        settings: settings of the build or refit; a call with others does not continue it.
        batch: number of documents per commit.
        consumed: number of documents read from the source so far.
        digest: hash chain over these, to notice another source.
        seconds: time spent embedding so far.
    """

    settings: dict[str, Any]
    batch: Positive
    consumed: Count = 0
    digest: Annotated[str, Field(pattern=r"\A([0-9a-f]{64})?\z")] = ""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Manifest(_Sealed):
    """One generation of an index.

    Attributes:
        generation: number that grows by one with every change.
        model_name: name that the embedding model is loaded by.
        model_fingerprint: identity of that model.
        context: fingerprint of the context; see `contexts.py` for where it lies.
        width: length of an embedding.
        kind: how an index of many rows is searched.
        named: number of documents that were assigned an id so far.
        segments: segments in the order they were written.
        accelerator: for kinds other than "flat", once there are enough rows.
        sources: what is recorded of where the documents come from; None if nothing is.
        staging: progress of a generation being built; None for one that is served.
        identity: identity of the index, as in its marker; None if an earlier release wrote the manifest.
        dtype: how the numbers of a vector are stored.
        dimensions: how many numbers of an embedding are stored, from the first on; None for all.
    """

    generation: Positive
    model_name: str
    model_fingerprint: str
    context: Sha256
    width: Positive
    kind: Kind
    named: Count = 0
    segments: tuple[SegmentEntry, ...] = ()
    accelerator: AcceleratorEntry | None = None
    sources: SourcesFile | None = None
    staging: Staging | None = None
    identity: Annotated[str, Field(pattern=r"\A[0-9a-f]{32}\z")] | None = None
    dtype: Dtype = "float32"
    dimensions: Positive | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [segment.name for segment in self.segments]
        if len(set(names)) < len(names):
            raise ValueError("a segment is listed twice")
        if self.accelerator is not None:
            covered = self.segments[: len(self.accelerator.segments)]
            rows = sum(segment.rows for segment in covered)
            if (list(self.accelerator.segments), self.accelerator.rows) != ([s.name for s in covered], rows):
                raise ValueError("the accelerator does not cover the first segments")
            if self.kind == "flat":
                raise ValueError('an index of kind "flat" has no accelerator')
        if self.dimensions is not None and self.dimensions > self.width:
            raise ValueError(f"vectors of {self.width} numbers have no first {self.dimensions}")
        if self.staging is not None and self.staging.consumed != self.documents:
            raise ValueError(f"{self.staging.consumed} documents were read, but {self.documents} are listed")
        return self

    @property
    def vector_format(self) -> VectorFormat:
        """How vectors are stored."""
        return VectorFormat(self.width, self.dimensions or self.width, self.dtype)

    @property
    def documents(self) -> int:
        """Number of documents that are not deleted."""
        return sum(segment.rows - segment.deleted for segment in self.segments)

    @property
    def names(self) -> Iterator[str]:
        """Yield what it lists, relative to the directory, with slashes; the context by its name in earlier releases."""
        yield f"{CONTEXTS}/{self.context[:16]}"
        if self.accelerator is not None:
            yield self.accelerator.file.name
        if self.sources is not None:
            yield self.sources.name
        for segment in self.segments:
            yield f"{SEGMENTS}/{segment.name}"
            if segment.deletions is not None:
                yield f"{SEGMENTS}/{segment.name}/{segment.deletions.name}"

    def changed(self, **fields: Any) -> Self:
        """Return this manifest with other values in some fields."""
        return self.model_copy(update=fields)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at `path`, in one instant."""
    replace_json(path, sealed(manifest.model_dump(mode="json"), FORMAT_VERSION))


def read_manifest(path: Path) -> Manifest:
    """Read the manifest at `path`.

    Raises:
        FileNotFoundError: it does not exist.
        IndexFileError: it is damaged, edited, not a file, not in a directory, or written by a later release.
    """
    remedy = f"restore it from a copy; the documents are still readable in {path.parent / SEGMENTS}/*/{DOCUMENTS}"
    if path.name == STAGED:
        remedy = "restore it from a copy, or call build() or refit() again, which sets it aside and starts over"
    if path.parent.is_file():
        raise IndexFileError(f"{path.parent} is a file; an index is a directory")
    wrong = obstacle(path.parent, path.name) if is_there(path) else None
    if wrong is not None:
        raise IndexFileError(f"{wrong}; {remedy}")
    content = read_checksummed(path, IndexFileError, remedy, (*_OLDER, FORMAT_VERSION))
    try:
        # As JSON, where a list may stand for a tuple; everything else is strict.
        return Manifest.model_validate_json(json.dumps(content))
    except ValidationError as error:
        wrong = readable(error.errors(include_url=False), "it")
        raise IndexFileError(f"{path} is not the manifest of an index: {wrong}; {remedy}") from error
