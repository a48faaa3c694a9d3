"""What a manifest lists: files, segments and an accelerator, each by the names that an index would write."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cde_retrievers.index.symlinks import obstacle
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.storage.hashing import sha256_of_file

VECTORS = "vectors.safetensors"
DOCUMENTS = "documents.jsonl"
LINES = "lines.json"
POSTINGS = "postings.safetensors"
COLUMNS = "columns.safetensors"

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Positive = Annotated[int, Field(ge=1, le=1 << 53)]
# Twelve random digits and the check of `ownership`, which earlier releases did not append.
_NAME = r"[0-9a-f]{12}([0-9a-f]{8})?"
SegmentName = Annotated[str, Field(pattern=rf"\A{_NAME}\z")]


class Sealed(BaseModel):
    """A part of a manifest, which never changes; fields that are unknown or of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), strict=True)


class FileEntry(Sealed):
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

    name: Annotated[str, Field(pattern=rf"\Adeleted-{_NAME}\.json\z")]


class AcceleratorFile(FileEntry):
    """The file of a faiss index."""

    name: Annotated[str, Field(pattern=rf"\Aaccelerator-{_NAME}\.faiss\z")]


class SourcesFile(FileEntry):
    """The file that records where the documents come from."""

    name: Annotated[str, Field(pattern=rf"\Asources-{_NAME}\.json\z")]


class SegmentEntry(Sealed):
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


class AcceleratorEntry(Sealed):
    """A faiss index that proposes candidates among the rows of the first segments.

    Attributes:
        file: the file in the directory of the index.
        rows: number of rows it covers, from the first segment on.
        segments: names of the segments it covers.
    """

    file: AcceleratorFile
    rows: Positive
    segments: tuple[SegmentName, ...]
