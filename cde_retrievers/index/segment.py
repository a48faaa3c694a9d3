"""Documents and vectors that were written together: three files that never change, mapped into memory when read.

    vectors.safetensors   (rows, width) float32
    documents.jsonl       one document a line, for people and other programs too
    lines.json            the ids, and where each line ends

Axes: R rows, W width.
"""

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.batches import Embeddings
from cde_retrievers.durable import sync_directory, sync_file
from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.document import Document, from_line, to_line
from cde_retrievers.index.manifest import SEGMENTS, FileEntry, SegmentEntry

VECTORS = "vectors.safetensors"
DOCUMENTS = "documents.jsonl"
LINES = "lines.json"
Rows = NDArray[np.int64]


class SegmentWriter:
    """Writes one segment piece by piece, in a `with` block; nobody sees it before a manifest lists it.

    Args:
        directory: of the index.
        rows: R, which the file's head names before the first row is there.
        width: W.
    """

    def __init__(self, directory: Path, rows: int, width: int) -> None:
        self._folder = directory / SEGMENTS / uuid4().hex[:12]
        self._folder.mkdir(parents=True)
        self._rows = rows
        self._ids: list[str] = []
        self._ends: list[int] = []
        with ExitStack() as files:
            self._vectors = files.enter_context((self._folder / VECTORS).open("wb"))
            self._documents = files.enter_context((self._folder / DOCUMENTS).open("wb"))
            self._files = files.pop_all()
        self._vectors.write(_safetensors_head(rows, width))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What a failure leaves is swept away by the next writer; closing may meet the full disk a second time.
        with suppress(OSError):
            self._files.close()

    def write(self, documents: Iterable[Document], vectors: Embeddings) -> None:
        """Append documents, all with ids, and their vectors (n, W)."""
        end = self._ends[-1] if self._ends else 0
        for document in documents:
            line = to_line(document)
            end += len(line)
            self._documents.write(line)
            self._ids.append(str(document.id))
            self._ends.append(end)
        self._vectors.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())

    def close(self) -> SegmentEntry:
        """Bring everything onto the device and describe it."""
        self._files.close()
        (self._folder / LINES).write_text(json.dumps({"ids": self._ids, "ends": self._ends}), encoding="utf-8")
        for name in (VECTORS, DOCUMENTS, LINES):
            sync_file(self._folder / name)
        sync_directory(self._folder)
        sync_directory(self._folder.parent)
        files = tuple(FileEntry.of(self._folder / name) for name in (VECTORS, DOCUMENTS, LINES))
        return SegmentEntry(name=self._folder.name, rows=self._rows, files=files)


def write_segment(directory: Path, documents: Sequence[Document], vectors: Embeddings) -> SegmentEntry:
    """A segment of documents, all with ids, and their vectors (R, W)."""
    with SegmentWriter(directory, len(documents), vectors.shape[1]) as writer:
        writer.write(documents, vectors)
        return writer.close()


def write_deletions(directory: Path, entry: SegmentEntry, rows: Iterable[int]) -> SegmentEntry:
    """The segment without these rows, in a new file beside it; an older such file stays for who reads it."""
    dead = sorted(set(rows))
    path = directory / SEGMENTS / entry.name / f"deleted-{uuid4().hex[:12]}.json"
    path.write_text(json.dumps(dead), encoding="utf-8")
    sync_file(path)
    sync_directory(path.parent)
    return entry.model_copy(update={"deletions": FileEntry.of(path), "deleted": len(dead)})


class Segment:
    """An open segment; stays readable after its files are unlinked.

    Args:
        directory: of the index.
        entry: as the manifest lists it.
        damaged: file names that must not be read.
    """

    def __init__(self, directory: Path, entry: SegmentEntry, damaged: frozenset[str] = frozenset()) -> None:
        self.entry = entry
        self._folder = directory / SEGMENTS / entry.name
        self._damaged = damaged
        self._text = None if DOCUMENTS in damaged else _map(self._folder / DOCUMENTS)
        self._matrix = None if VECTORS in damaged else _map_safetensors(self._folder / VECTORS)
        lines = None if LINES in damaged else json.loads((self._folder / LINES).read_text(encoding="utf-8"))
        self._lines: dict[str, Any] = lines if lines is not None else self._lines_of_documents()

    @property
    def ids(self) -> list[str]:
        """Ids by row, deleted ones included."""
        ids: list[str] = self._lines["ids"]
        return ids

    @property
    def is_searchable(self) -> bool:
        """Whether its vectors are undamaged."""
        return self._matrix is not None

    @property
    def is_readable(self) -> bool:
        """Whether its documents are undamaged."""
        return self._text is not None

    @property
    def vectors(self) -> Embeddings:
        """(R, W) float32 unit rows, mapped from the file."""
        if self._matrix is None:
            raise IndexFileError(f"{self._folder / VECTORS} is damaged and cannot be searched")
        return self._matrix

    def document(self, row: int) -> Document:
        """The document in a row, deleted or not."""
        if self._text is None:
            raise IndexFileError(f"{self._folder / DOCUMENTS} is damaged and cannot be read")
        ends = self._lines["ends"]
        return from_line(self._text[ends[row - 1] if row else 0 : ends[row]])

    @cached_property
    def metadata(self) -> list[dict[str, Any]]:
        """Metadata by row; parsed at the first filter and kept."""
        if not self.is_readable:
            return [{}] * self.entry.rows
        return [dict(self.document(row).metadata) for row in range(self.entry.rows)]

    @cached_property
    def fields(self) -> frozenset[str]:
        """Every metadata field that a document has."""
        return frozenset(key for metadata in self.metadata for key in metadata)

    def live_rows(self, entry: SegmentEntry) -> NDArray[np.bool_]:
        """(R,) which rows count, by an entry that may be younger than the one it was opened with.

        None does where the documents are damaged.
        """
        live = np.full(entry.rows, self.is_readable)
        if entry.deletions is not None:
            path = self._folder / entry.deletions.name
            live[json.loads(path.read_text(encoding="utf-8"))] = False
        return live

    def _lines_of_documents(self) -> dict[str, Any]:
        """What `lines.json` said, from the documents themselves."""
        if self._text is None:
            return {"ids": [""] * self.entry.rows, "ends": [0] * self.entry.rows}
        ends = np.cumsum([len(line) for line in self._text[:].splitlines(keepends=True)]).tolist()
        starts = [0, *ends[:-1]]
        ids = [from_line(self._text[a:b]).id for a, b in zip(starts, ends, strict=True)]
        return {"ids": ids, "ends": ends}


def damage_of(directory: Path, entry: SegmentEntry, files: Iterable[FileEntry]) -> Iterator[tuple[str, str]]:
    """(file name, what is wrong) for each of these files of the segment, or its deletions, that was changed or lost."""
    listed = (*files, *((entry.deletions,) if entry.deletions else ()))
    for file in listed:
        wrong = file.damage(directory / SEGMENTS / entry.name)
        if wrong is not None:
            yield file.name, wrong


def _safetensors_head(rows: int, width: int) -> bytes:
    """What the safetensors format puts before the numbers, so that they can be written as they come."""
    tensor = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, rows * width * 4]}
    head = json.dumps({"vectors": tensor}).encode("ascii")
    head += b" " * (-(8 + len(head)) % 64)  # rows begin where vector instructions like them to
    return len(head).to_bytes(8, "little") + head


def _map_safetensors(path: Path) -> Embeddings:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        shape = json.loads(file.read(length))["vectors"]["shape"]
    return np.memmap(path, dtype="<f4", mode="r", offset=8 + length, shape=tuple(shape))


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
