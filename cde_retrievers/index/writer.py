"""Changes to an index: documents added, replaced or deleted, each change served as the next generation.

Axes: R rows, W width.
"""

from collections.abc import Container, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.encoder.cut_texts import cut_texts_told_once
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index.build import reused_or_embedded, size_of
from cde_retrievers.index.compaction import compacted, partly_compacted
from cde_retrievers.index.entries import SegmentEntry
from cde_retrievers.index.generation import Generation
from cde_retrievers.index.incoming_documents import DocumentValidator, batches
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.open_index import OpenIndex
from cde_retrievers.index.segment_writer import write_deletions, write_segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.sources_file import SourceRecord, read_sources, with_record, write_sources
from cde_retrievers.retrieval.document import Document
from cde_retrievers.util.progress import Progress, progress_bar
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings

READ_FOR_ONE = 100
"""Texts that are read for each document of `add`, to reuse their vectors: 2 ms, in which a CPU hardly embeds one."""


class IndexWriter:
    """Changes an index whose lock is held; every commit replaces the generation before it.

    Args:
        state: the open index at its newest generation, its store claimed.
    """

    def __init__(self, state: OpenIndex) -> None:
        self._state = state
        self._store = state.store

    @property
    def _generation(self) -> Generation:
        return self._state.current

    @property
    def _snapshot(self) -> Snapshot:
        return self._generation.snapshot

    def append(
        self, documents: Iterable[Document | str], batch_size: int, show_progress: bool | None, *, replacing: bool
    ) -> list[str]:
        """Embed documents and commit them batch by batch; return their ids.

        A document whose text is in the index already, under whatever id, gets the vector that is there; without
        `replacing` only where that is soon found.

        Args:
            documents: texts or documents.
            batch_size: number of documents per commit.
            show_progress: show a bar; None for long work only.
            replacing: whether a document replaces the one with its id.

        Raises:
            DuplicateIdError, InvalidDocumentError, InvalidTextError: as `ContextualIndex.add`.
        """
        validator = self._validator(replacing=replacing)
        admitted: Iterable[Document] = validator.admit(documents)
        if isinstance(documents, Sequence):
            admitted = list(admitted)  # so that a bad document at the end is found before the first is embedded
        ids: list[str] = []
        # Of the beginning: a text may move into a later batch than the one that drops it.
        before = self._snapshot if replacing or self._is_soon_read(size_of(documents)) else None
        with cut_texts_told_once(), progress_bar(size_of(documents), show_progress, "Indexing", "document") as bar:
            for batch in batches(admitted, batch_size):
                self._commit_documents(batch, self._vectors(batch, before, bar), validator.named, by_text=True)
                ids += [str(document.id) for document in batch]
        return ids

    def append_embedded(self, documents: Sequence[Document | str], vectors: Embeddings, fingerprint: str) -> list[str]:
        """Commit n documents with embeddings (n, E) that were made under the context with that fingerprint.

        Raises:
            ContextMismatchError: it is not the context of the index.
            ConfigurationError: the vectors have the wrong shape or length.
        """
        self._generation.check_fingerprint(fingerprint)
        form = self._generation.vector_format
        matrix = form.cut(checked_embeddings(vectors, len(documents), form.width, ConfigurationError))
        validator = self._validator(replacing=True)
        admitted = list(validator.admit(documents))
        if admitted:
            self._commit_documents(admitted, matrix, validator.named, by_text=False)
        return [str(document.id) for document in admitted]

    def delete(self, ids: Iterable[str]) -> list[str]:
        """Remove documents; return the ids that were in the index."""
        known = [identity for identity in ids if identity in self._snapshot.rows_by_id]
        if known:
            rows = [self._snapshot.rows_by_id[identity] for identity in known]
            self._commit(partly_compacted(self._store, self._next(self._without(rows))))
        return known

    def record_source(self, source: SourceRecord, instead_of: Container[str]) -> None:
        """Record a source, in place of what was recorded of its path and of some others.

        The generation keeps its number, since no document changes.
        """
        manifest = self._snapshot.manifest
        known = read_sources(self._store.directory, manifest)
        records = with_record(known, source, instead_of)
        if records != known:
            self._commit(manifest.changed(sources=write_sources(self._store.home, records)))

    def compact(self) -> None:
        """Rewrite the index without deleted rows, in as few segments as possible."""
        self._commit(compacted(self._store, self._next(self._snapshot.manifest.segments)))

    def _is_soon_read(self, new: int | None) -> bool:
        """Whether reading all texts of the index costs little beside embedding that many new ones."""
        return new is not None and len(self._snapshot) <= READ_FOR_ONE * new

    def _validator(self, *, replacing: bool) -> DocumentValidator:
        return DocumentValidator(self._snapshot.rows_by_id, self._snapshot.manifest.named, replacing=replacing)

    def _vectors(self, documents: Sequence[Document], before: Snapshot | None, bar: Progress) -> Embeddings:
        """Return vectors (n, W): those that the generation `before` has for the same texts; the others are embedded."""
        embedder, context = self._state.embedder_of(self._generation), self._generation.context
        return reused_or_embedded(before, embedder, documents, context, self._generation.vector_format, bar)

    def _commit_documents(
        self, documents: Sequence[Document], vectors: Embeddings, named: int, *, by_text: bool
    ) -> None:
        """Commit documents in place of those with the same ids; `named` counts the ids assigned so far."""
        known = self._snapshot.rows_by_id
        replaced = [known[str(document.id)] for document in documents if document.id in known]
        terms, form = self._generation.context.terms, self._generation.vector_format
        added = write_segment(self._store.home, documents, vectors, terms, form, by_text=by_text)
        after = self._next((*self._without(replaced), added)).changed(named=named)
        self._commit(partly_compacted(self._store, after))

    def _commit(self, manifest: Manifest) -> None:
        snapshot = self._store.snapshot(self._store.commit(manifest))
        self._state.adopt(snapshot, self._generation.context)
        self._store.sweep()

    def _next(self, segments: tuple[SegmentEntry, ...]) -> Manifest:
        before = self._snapshot.manifest
        return before.changed(generation=before.generation + 1, segments=segments)

    def _without(self, rows: Sequence[int]) -> tuple[SegmentEntry, ...]:
        """Return the segments with these rows deleted too."""
        before = self._snapshot
        if not rows:
            return before.manifest.segments
        live = before.live.copy()
        live[np.asarray(rows, dtype=np.int64)] = False
        return tuple(
            self._marked(entry, before.live[start : start + entry.rows], live[start : start + entry.rows])
            for entry, start in zip(before.manifest.segments, before.starts[:-1], strict=True)
        )

    def _marked(self, entry: SegmentEntry, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> SegmentEntry:
        """Return the segment with the live rows `after` in place of `before`, masks (R,)."""
        if np.array_equal(before, after):
            return entry
        return write_deletions(self._store.home, entry, np.flatnonzero(~after).tolist())
