"""Writing a segment: files that never change.

    vectors.safetensors   (rows, numbers of a row), as the index stores vectors
    documents.jsonl       one document per line, readable by people and other programs
    lines.json            the ids and where each line ends
    columns.safetensors   the metadata by field, for filters
    postings.safetensors  the sparse rows by term, under a context with term statistics

Axes: R rows, W numbers of a vector, B numbers of a stored row.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Self

from cde_retrievers.index.columns import Column, Columns
from cde_retrievers.index.columns_file import write_columns
from cde_retrievers.index.entries import (
    COLUMNS,
    DOCUMENTS,
    LINES,
    POSTINGS,
    VECTORS,
    DeletionsEntry,
    FileEntry,
    SegmentEntry,
)
from cde_retrievers.index.ownership import SEGMENTS, OwnedDirectory
from cde_retrievers.index.postings_file import write_postings
from cde_retrievers.index.symlinks import new_file, own_folder
from cde_retrievers.index.vector_format import Codes, VectorFormat
from cde_retrievers.retrieval.document import Document, to_line
from cde_retrievers.sparse import TermStatistics
from cde_retrievers.sparse.bm25 import document_rows
from cde_retrievers.sparse.postings import Postings
from cde_retrievers.storage.sync import sync_directory, sync_file
from cde_retrievers.validation.vectors import Embeddings


class SegmentWriter:
    """Writes one segment piece by piece, in a `with` block; no reader sees it before a manifest lists it.

    Args:
        home: directory of the index.
        rows: number of rows, R, which the head of the file needs before the first row.
        form: how vectors are stored.
    """

    def __init__(self, home: OwnedDirectory, rows: int, form: VectorFormat) -> None:
        self._home = home
        self._folder = own_folder(home.path / SEGMENTS) / home.new_name()
        self._folder.mkdir()
        self._rows = rows
        self._form = form
        self._ids: list[str] = []
        self._ends: list[int] = []
        with ExitStack() as files:
            self._vectors = files.enter_context(new_file(self._folder / VECTORS))
            self._documents = files.enter_context(new_file(self._folder / DOCUMENTS))
            self._files = files.pop_all()
        self._vectors.write(safetensors_head(rows, form))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):  # closing may meet the full disk a second time
            self._files.close()
        if failure is not None:
            self._home.remove(self._folder)  # at once: the disk may be full

    def write(self, documents: Iterable[Document], vectors: Embeddings) -> None:
        """Append n documents, all with ids, and their vectors (n, W)."""
        lines = [(str(document.id), to_line(document)) for document in documents]
        self.write_lines(lines, self._form.encoded(vectors))

    def write_lines(self, lines: Iterable[tuple[str, bytes]], codes: Codes) -> None:
        """Append n documents as (id, line), and their vectors as they are stored (n, B)."""
        end = self._ends[-1] if self._ends else 0
        for identity, line in lines:
            end += len(line)
            self._documents.write(line)
            self._ids.append(identity)
            self._ends.append(end)
        self._vectors.write(codes.tobytes())

    def close(self, fields: Mapping[str, Column], postings: Postings | None, *, by_text: bool) -> SegmentEntry:
        """Finish the files, sync them to the device, and return the entry for the manifest.

        Args:
            fields: the metadata of the R documents by field.
            postings: those of the R documents; None if their context has no term statistics.
            by_text: as in the entry.
        """
        self._files.close()
        write_columns(self._folder / COLUMNS, fields)
        names = [VECTORS, DOCUMENTS, LINES, COLUMNS]
        if postings is not None:
            write_postings(self._folder / POSTINGS, postings)
            names.append(POSTINGS)
        with new_file(self._folder / LINES) as file:
            file.write(json.dumps({"ids": self._ids, "ends": self._ends}).encode("ascii"))
        for name in names:
            sync_file(self._folder / name)
        sync_directory(self._folder)
        sync_directory(self._folder.parent)
        files = tuple(FileEntry.of(self._folder / name) for name in names)
        return SegmentEntry(name=self._folder.name, rows=self._rows, files=files, by_text=by_text)


def write_segment(
    home: OwnedDirectory,
    documents: Sequence[Document],
    vectors: Embeddings,
    terms: TermStatistics | None,
    form: VectorFormat,
    *,
    by_text: bool = True,
) -> SegmentEntry:
    """Write a segment of documents, all with ids, and their vectors (R, W).

    Args:
        home: directory of the index.
        documents: R documents.
        vectors: their vectors.
        terms: term statistics of their context, for their postings; None if it has none.
        form: how the vectors are stored.
        by_text: whether the embedder of the index made all vectors from the texts.
    """
    postings = None if terms is None else Postings.of(document_rows([document.text for document in documents], terms))
    columns = Columns.of([document.metadata for document in documents])
    with SegmentWriter(home, len(documents), form) as writer:
        writer.write(documents, vectors)
        return writer.close(columns.fields, postings, by_text=by_text)


def write_deletions(home: OwnedDirectory, entry: SegmentEntry, rows: Iterable[int]) -> SegmentEntry:
    """Write the deleted rows of a segment to a new file in it; an older one stays for its readers."""
    dead = sorted(set(rows))
    path = home.path / SEGMENTS / entry.name / f"deleted-{home.new_name()}.json"
    with new_file(path) as file:
        file.write(json.dumps(dead).encode("ascii"))
    sync_file(path)
    sync_directory(path.parent)
    return entry.model_copy(update={"deletions": DeletionsEntry.of(path), "deleted": len(dead)})


def safetensors_head(rows: int, form: VectorFormat) -> bytes:
    """Return the head of a safetensors file, so that rows can be written one batch at a time."""
    size = rows * form.bytes_per_vector
    tensor = {"dtype": form.tensor_dtype, "shape": [rows, form.columns], "data_offsets": [0, size]}
    head = json.dumps({"vectors": tensor}).encode("ascii")
    head += b" " * (-(8 + len(head)) % 64)  # rows are aligned for vector instructions
    return len(head).to_bytes(8, "little") + head
