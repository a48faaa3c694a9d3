"""An index that carries its context: vectors, documents and the context they were embedded under, in one directory.

Axes: Q queries, W width.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Self, overload

import numpy as np

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, ReadOnlyError
from cde_retrievers.index.commits import commit_change, compact
from cde_retrievers.index.creation import BuildRequest, create_index, finish_build
from cde_retrievers.index.disk import disk_errors_explained
from cde_retrievers.index.document import Document, Hit
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.intake import Intake, batches
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.manifest import Kind, Manifest
from cde_retrievers.index.segment import write_segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.text import checked_texts

BATCH = 2_048
"""Documents per commit."""


class ContextualIndex:
    """Documents to search, on disk, under the one context that they were embedded under.

    Example:
        ```python
        encoder = ContextualEncoder.from_pretrained("minilm")
        index = ContextualIndex.build(["a text", "another"], encoder, "my_index")  # fits the context, then embeds
        hits = index.search("a question", k=3)

        index = ContextualIndex.open("my_index")  # later: model and context come with it
        index.add([Document("a new text", id="new")])
        ```

    Every change is a new generation that takes the old one's place in one instant. Who has the index open keeps the
    generation it has until it calls `refresh`, or changes something itself. One writer at a time: a second one, in
    whatever process, is refused. Safe to use from several threads.

    Make one with `build`, `create` or `open`.
    """

    def __init__(self, store: IndexStore, snapshot: Snapshot, embedder: Embedder | None, *, read_only: bool) -> None:
        self._store = store
        self._snapshot = snapshot
        self._given = embedder
        self._context = store.context(snapshot.manifest)
        self._embedder = self._checked_embedder(embedder, self._context) if embedder is not None else None
        self._mutex = RLock()
        self.read_only = read_only
        self.damaged: tuple[str, ...] = ()
        """What is wrong with each damaged file; only ever anything with `salvage=True`."""

    @classmethod
    def build(
        cls,
        documents: Iterable[Document | str],
        embedder: Embedder,
        path: str | Path,
        *,
        context: CorpusContext | None = None,
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        kind: Kind = "flat",
        batch_size: int = BATCH,
        show_progress: bool | None = None,
    ) -> Self:
        """Fit a context on the documents, embed them under it, and write the index; nothing is there before the end.

        Texts are never all in memory, and every batch is kept: after an interruption the same call goes on where it
        was. Documents without an id are called "doc-0", "doc-1" and so on.

        Args:
            documents: texts or documents; read twice, or once if a `context` is given.
            embedder: for example `ContextualEncoder.from_pretrained("minilm")`.
            path: directory of the index, new or empty, or that of an interrupted build.
            context: fitted before, in place of fitting one here.
            size: context documents; the model's own number if None.
            strategy: how they are chosen: "random", "kmeans" or "diverse".
            seed: of that choice.
            kind: "flat" (exact), or from 10,000 documents on approximate: "hnsw" or "ivf".
            batch_size: documents per commit.
            show_progress: True or False, or None for a bar only where the work is long.

        Raises:
            PathInUseError: there is an index, or something else, at `path`.
            ConfigurationError: documents that can be read only once need a `context`; or an interrupted build at `path`
                was asked for with other settings or other documents.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: about a document; before anything is embedded,
                unless a `context` is given.
            ContextMismatchError: another model fitted the context.
            IndexLockedError: another process is building there.
            WriteError: the disk is full or not to be written to; what is done so far is kept.
        """
        request = BuildRequest(
            embedder=embedder, context=context, size=size, strategy=strategy, seed=seed, kind=kind, batch=batch_size
        )
        manifest, store = finish_build(documents, request, Path(path), show_progress)
        return cls(store, store.snapshot(manifest), embedder, read_only=False)

    @classmethod
    def create(cls, embedder: Embedder, context: CorpusContext, path: str | Path, *, kind: Kind = "flat") -> Self:
        """An index without documents, under a context that is fitted already; arguments and errors as in `build`."""
        manifest, store = create_index(embedder, context, Path(path), kind)
        return cls(store, store.snapshot(manifest), embedder, read_only=False)

    @classmethod
    def open(
        cls, path: str | Path, embedder: Embedder | None = None, *, read_only: bool = False, salvage: bool = False
    ) -> Self:
        """An index on disk, with every file of it checked.

        Args:
            path: directory of the index.
            embedder: of the model that it was built with; loaded by the name in the index, at the first need, if None.
            read_only: refuse changes.
            salvage: open what is undamaged, for reading; `damaged` says what is not. Documents whose vectors are
                damaged are in `documents()` but are not found by searches.

        Raises:
            IndexFileError: there is no index, it is not finished, or files are damaged; names them.
            ContextFileError: the context is missing or damaged.
            ContextMismatchError: the embedder is another model.
        """
        store = IndexStore(Path(path).resolve())
        if not salvage:
            return cls(store, store.open(), embedder, read_only=read_only)
        snapshot, damaged = store.salvage()
        index = cls(store, snapshot, embedder, read_only=True)
        index.damaged = damaged
        return index

    def __len__(self) -> int:
        return len(self._snapshot)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self._snapshot.rows_by_id

    def __repr__(self) -> str:
        return (
            f"ContextualIndex({len(self)} documents, generation {self.generation}, {self.kind}, "
            f"path={str(self.path)!r}, context={self._context!r})"
        )

    @property
    def path(self) -> Path:
        """Directory of the index."""
        return self._store.directory

    @property
    def context(self) -> CorpusContext:
        """The context that documents and queries are embedded under."""
        return self._context

    @property
    def embedder(self) -> Embedder:
        """The model; loaded by the name that the index carries, if none was given."""
        with self._mutex:
            if self._embedder is None:
                loaded = ContextualEncoder.from_pretrained(self._context.model_name)
                self._embedder = self._checked_embedder(loaded, self._context)
            return self._embedder

    @property
    def generation(self) -> int:
        """Counts up by one with every change."""
        return self._snapshot.manifest.generation

    @property
    def kind(self) -> Kind:
        """How large indexes are searched: "flat", "ivf" or "hnsw"."""
        return self._snapshot.manifest.kind

    @property
    def fields(self) -> frozenset[str]:
        """Metadata fields that any document has; what filters can name."""
        return self._snapshot.fields

    def documents(self) -> Iterator[Document]:
        """Every document, one in memory at a time."""
        return self._snapshot.documents()

    def texts(self) -> Iterator[str]:
        """The text of every document."""
        return (document.text for document in self.documents())

    def ids(self) -> list[str]:
        """The id of every document."""
        return list(self._snapshot.rows_by_id)

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents with these ids, None where there is none."""
        snapshot = self._snapshot
        rows = [snapshot.rows_by_id.get(identity) for identity in ids]
        return [None if row is None else snapshot.document(row) for row in rows]

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """The embeddings (n, W) of documents.

        Raises:
            KeyError: an id is not in the index.
        """
        snapshot = self._snapshot
        return snapshot.vectors([snapshot.rows_by_id[identity] for identity in ids])

    @overload
    def search(self, query: str, k: int = 10, filter: Filter | None = None) -> list[Hit]: ...

    @overload
    def search(
        self, query: list[str] | tuple[str, ...], k: int = 10, filter: Filter | None = None
    ) -> list[list[Hit]]: ...

    def search(
        self, query: str | list[str] | tuple[str, ...], k: int = 10, filter: Filter | None = None
    ) -> list[Hit] | list[list[Hit]]:
        """The documents nearest to a query, or to each of several, best first.

        Args:
            query: one question, or a list of them.
            k: hits per query.
            filter: which documents may be found, by their metadata, such as `{"year": {"$gte": 2020}}`; see
                `cde_retrievers.index.filters`.

        Returns:
            A list of hits, or one such list per query.

        Raises:
            ConfigurationError: `k` is no positive whole number.
            FilterError: the filter is impossible, or names a field that no document has.
            InvalidTextError: a query is no text.
        """
        queries = [query] if isinstance(query, str) else list(query)
        list(checked_texts(queries))
        hits = self.search_vectors(self.embedder.encode_queries(queries, self._context, show_progress=False), k, filter)
        return hits[0] if isinstance(query, str) else hits

    def search_vectors(self, queries: Embeddings, k: int = 10, filter: Filter | None = None) -> list[list[Hit]]:
        """As `search`, for queries (Q, W) that are embedded already, under this index's context."""
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise ConfigurationError(f"k must be a positive whole number of hits, found {k!r}")
        snapshot = self._snapshot
        scores, rows = snapshot.search(np.asarray(queries, dtype=np.float32), k, filter)
        return [
            [_hit(snapshot.document(int(row)), float(score)) for score, row in zip(*found, strict=True)]
            for found in zip(scores, rows, strict=True)
        ]

    def add(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """Embed documents under the index's context and append them; batches of 2,048 count at once.

        Returns:
            Their ids, in order.

        Raises:
            DuplicateIdError: an id is in the index already, or comes twice; `upsert` replaces.
            InvalidDocumentError, InvalidTextError: about a document; where a list is given, before any is added.
            IndexLockedError: another process is writing.
            ReadOnlyError: the index was opened for reading.
            WriteError: the disk is full or not to be written to; the index is as it was, or has whole batches more.
        """
        with self._writing("adding documents") as snapshot:
            intake = Intake(snapshot.rows_by_id, snapshot.manifest.named, "use upsert() to replace what is there")
            return self._append(intake, documents, show_progress)

    def upsert(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """As `add`, but a document whose id is in the index already takes the other's place, in one instant."""
        with self._writing("replacing documents") as snapshot:
            return self._append(Intake((), snapshot.manifest.named), documents, show_progress)

    def add_embedded(self, documents: Sequence[Document | str], vectors: Embeddings, fingerprint: str) -> list[str]:
        """As `upsert`, for documents that are embedded already.

        Args:
            documents: n documents.
            vectors: (n, W).
            fingerprint: of the context that the vectors were made under.

        Raises:
            ContextMismatchError: that is another context than the index's.
            ConfigurationError: the vectors have another shape.
        """
        if fingerprint != self._context.fingerprint:
            raise ContextMismatchError(
                f"these vectors were made under context {fingerprint}, the index in {self.path} is under "
                f"{self._context.fingerprint}; embed the documents under the index's context"
            )
        matrix = np.asarray(vectors, dtype=np.float32)
        if matrix.shape != (len(documents), self._snapshot.manifest.width):
            raise ConfigurationError(
                f"{len(documents)} documents need vectors of shape ({len(documents)}, {self._snapshot.manifest.width}),"
                f" found {matrix.shape}"
            )
        with self._writing("adding documents") as snapshot:
            intake = Intake((), snapshot.manifest.named)
            admitted = list(intake.admit(documents))
            if admitted:
                self._commit(admitted, matrix, intake.named)
            return [str(document.id) for document in admitted]

    def delete(self, ids: Iterable[str]) -> list[str]:
        """Remove documents.

        Returns:
            Those of the ids that were there.

        Raises:
            IndexLockedError, ReadOnlyError, WriteError: as `add`.
        """
        if isinstance(ids, str):
            raise ConfigurationError(f"a list of ids is expected, found the text {ids!r}; put it into a list")
        with self._writing("deleting documents") as snapshot:
            known = [identity for identity in dict.fromkeys(ids) if identity in snapshot.rows_by_id]
            if known:
                rows = [snapshot.rows_by_id[identity] for identity in known]
                self._serve(commit_change(self._store, snapshot, None, rows, snapshot.manifest.named))
            return known

    def optimize(self) -> None:
        """Drop deleted documents from the files, merge small ones, and make the candidates of "ivf" and "hnsw" anew."""
        with self._writing("optimizing") as snapshot:
            manifest = compact(self._store, snapshot.manifest)
            manifest = manifest.changed(generation=manifest.generation + 1)
            self._store.commit(manifest)
            self._serve(manifest)

    def refresh(self) -> bool:
        """Look at the newest generation from now on; whether there was one.

        Raises:
            ContextMismatchError: the index was refitted by another model than the one given to `open`.
        """
        with self._mutex:
            if self._store.served().generation == self.generation:
                return False
            self._adopt(self._store.open())
            return True

    def _append(self, intake: Intake, documents: Iterable[Document | str], show_progress: bool | None) -> list[str]:
        admitted: Iterable[Document] = intake.admit(documents)
        if isinstance(documents, Sequence):
            admitted = list(admitted)  # so that a bad one at the end is noticed before the first is embedded
        ids: list[str] = []
        for batch in batches(admitted, BATCH):
            vectors = self.embedder.encode_documents(
                [document.text for document in batch], self._context, show_progress
            )
            self._commit(batch, vectors, intake.named)
            ids += [str(document.id) for document in batch]
        return ids

    def _commit(self, batch: Sequence[Document], vectors: Embeddings, named: int) -> None:
        snapshot = self._snapshot
        replaced = [snapshot.rows_by_id[str(d.id)] for d in batch if d.id in snapshot.rows_by_id]
        entry = write_segment(self.path, batch, vectors)
        self._serve(commit_change(self._store, snapshot, entry, replaced, named))

    def _serve(self, manifest: Manifest) -> None:
        self._snapshot = self._store.snapshot(manifest)
        self._store.sweep()

    def _adopt(self, snapshot: Snapshot) -> None:
        context = self._store.context(snapshot.manifest)
        if self._embedder is not None and context != self._context:
            self._embedder = self._checked_embedder(self._embedder, context)
        self._snapshot, self._context = snapshot, context

    @contextmanager
    def _writing(self, task: str) -> Iterator[Snapshot]:
        """Hold the index for writing, at its newest generation."""
        if self.read_only:
            raise ReadOnlyError(f"the index in {self.path} was opened for reading; open it without read_only=True")
        state = f"the index is still there, at generation {self.generation} or later"
        with self._mutex, disk_errors_explained(self.path, state), writer_lock(self.path, task):
            self.refresh()
            self._store.sweep()
            yield self._snapshot

    def _checked_embedder(self, embedder: Embedder, context: CorpusContext) -> Embedder:
        embedder.check_context(context)
        return embedder


def _hit(document: Document, score: float) -> Hit:
    return Hit(str(document.id), document.text, document.metadata, score)
