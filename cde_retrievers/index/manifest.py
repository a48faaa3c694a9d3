"""The manifest of an index: one small sealed file that lists its parts and is replaced as a whole.

`index.json` is the generation that is served; `next.json` is one that is still being built.

A seal is not a signature: any program that can write the file can seal it. So names and numbers are checked against
what an index would write before any of them is used.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.entries import (
    DOCUMENTS,
    AcceleratorEntry,
    Count,
    Positive,
    Sealed,
    SegmentEntry,
    SourcesFile,
)
from cde_retrievers.index.ownership import CONTEXTS, SEGMENTS
from cde_retrievers.index.symlinks import is_there, obstacle
from cde_retrievers.index.vector_format import Dtype, VectorFormat
from cde_retrievers.storage.atomic import replace_json
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.validation.problems import readable

# The first had no postings, the second neither `by_text` nor sources, the third neither columns nor formats of vectors.
FORMAT_VERSION, _OLDER = 4, (1, 2, 3)
SERVED = "index.json"
STAGED = "next.json"
Kind = Literal["flat", "ivf", "hnsw"]


class Staging(Sealed):
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


class Manifest(Sealed):
    """One generation of an index.

    Attributes:
        generation: number that grows by one with every change of its documents.
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
    def progress(self) -> Staging:
        """Progress of a generation that is being built."""
        assert self.staging is not None, "a generation that is served has none"
        return self.staging

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
