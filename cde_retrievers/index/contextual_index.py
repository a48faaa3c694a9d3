"""An index with its context: vectors, documents and the context they were embedded under, in one directory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, ReadOnlyError
from cde_retrievers.index.build import embedded, size_of
from cde_retrievers.index.commits import commit_change, compact
from cde_retrievers.index.create import BuildRequest, create_index, finish_build
from cde_retrievers.index.entries import index_directory
from cde_retrievers.index.intake import DocumentValidator, batches, require_collection
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.index.manifest import Kind, Manifest
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.refit import RefitReport, build_next
from cde_retrievers.index.segment_writer import write_segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.retrieval.document import Document, checked_ids
from cde_retrievers.retrieval.judgements import DEPTH, JudgedQueries
from cde_retrievers.storage.atomic import recovered
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings

BATCH = 2_048
"""Documents per commit."""


class ContextualIndex(IndexReader):
    """An index of documents on disk, all embedded under one context that it carries.

    Example:
        ```python
        encoder = ContextualEncoder.from_pretrained("minilm")
        index = ContextualIndex.build(["a text", "another"], encoder, "my_index")  # fits the context, then embeds
        hits = index.search("a question", k=3)

        index = ContextualIndex.open("my_index")  # later: model and context come with it
        index.add([Document("a new text", id="new")])
        ```

    Every change is a new generation that replaces the old one in one instant. An open index keeps its generation until
    it calls `refresh` or makes a change itself. One writer at a time: a second one, in any process, is refused. Safe to
    use from several threads.

    Make one with `build`, `create` or `open`.
    """

    def __init__(
        self,
        store: IndexStore,
        snapshot: Snapshot,
        context: CorpusContext,
        embedder: Embedder | None,
        *,
        read_only: bool,
    ) -> None:
        super().__init__(store, snapshot, context, embedder)
        self.read_only = read_only

    @classmethod
    @validated
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
        """Fit a context on the documents, embed them under it, and write the index, which is served when complete.

        Texts are never all in memory, and every batch is kept: after an interruption the same call continues
        where it was. Documents without an id are named "doc-0", "doc-1" and so on.

        Args:
            documents: texts or documents; read twice, or once if a `context` is given.
            embedder: for example `ContextualEncoder.from_pretrained("minilm")`.
            path: directory of the index, new or empty, or that of an interrupted build.
            context: fitted before, used instead of fitting one here.
            size: context documents; the model's own number if None.
            strategy: how they are chosen: "random", "kmeans" or "diverse".
            seed: of that choice.
            kind: "flat" (exact), or from 10,000 documents on approximate: "hnsw" or "ivf".
            batch_size: documents per commit.
            show_progress: None shows a bar for long work only.

        Raises:
            PathInUseError: there is an index, or something else, at `path`.
            ConfigurationError: documents that can be read only once need a `context`; or an interrupted build at `path`
                had other settings or other documents.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: about a document; before anything is embedded,
                unless a `context` is given.
            ContextMismatchError: another model fitted the context.
            IndexLockedError: another process is building an index there.
            WriteError: the disk is full or not writable; finished batches are kept.
        """
        request = BuildRequest(
            embedder=embedder, context=context, size=size, strategy=strategy, seed=seed, kind=kind, batch=batch_size
        )
        store, snapshot, fitted = finish_build(documents, request, path, show_progress)
        return cls(store, snapshot, fitted, embedder, read_only=False)

    @classmethod
    @validated
    def create(cls, embedder: Embedder, context: CorpusContext, path: str | Path, *, kind: Kind = "flat") -> Self:
        """Create an index without documents, under a fitted context; arguments and errors as in `build`."""
        store, snapshot = create_index(embedder, context, path, kind)
        return cls(store, snapshot, context, embedder, read_only=False)

    @classmethod
    @validated
    def open(
        cls, path: str | Path, embedder: Embedder | None = None, *, read_only: bool = False, salvage: bool = False
    ) -> Self:
        """Open an index on disk and check every file of it.

        Args:
            path: directory of the index.
            embedder: the embedder that it was built with. If None, the model is loaded by its name at first use;
                ConfigurationError is raised if that is another library's embedding.
            read_only: refuse changes.
            salvage: open the undamaged files for reading; `damaged` lists the others. Documents whose vectors are
                damaged are in `documents()` but are not found by searches.

        Raises:
            ConfigurationError: `path` cannot be the path of a directory.
            IndexFileError: there is no index, it is not finished, or files are damaged; names them. Without the
                accelerator of "ivf" and "hnsw", searches are exact, with a warning, until `optimize` is called.
            ContextFileError: the context is missing or damaged.
            ContextMismatchError: the embedder is another model.
        """
        store = IndexStore(index_directory(recovered(path)))
        snapshot, context = store.salvage() if salvage else store.open()
        return cls(store, snapshot, context, embedder, read_only=read_only or salvage)

    @validated
    def add(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """Embed documents under the index's context and append them, committed in batches of 2,048.

        Args:
            documents: texts or documents.
            show_progress: None shows a bar for long work only.

        Returns:
            Their ids, in order.

        Raises:
            DuplicateIdError: an id is already in the index, or comes twice; `upsert` replaces.
            InvalidDocumentError, InvalidTextError: about a document; where a list is given, before any is added.
            IndexLockedError: another process is writing.
            ReadOnlyError: the index was opened for reading.
            WriteError: the disk is full or not writable; the index is unchanged or has further whole batches.
        """
        with self._writing("adding documents") as snapshot:
            return self._append(
                DocumentValidator(snapshot.rows_by_id, snapshot.manifest.named), documents, show_progress
            )

    @validated
    def upsert(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """Add documents as `add` does, but replace those whose id is already in the index, in one instant.

        A document without an id is always new.
        """
        with self._writing("replacing documents") as snapshot:
            intake = DocumentValidator(snapshot.rows_by_id, snapshot.manifest.named, replacing=True)
            return self._append(intake, documents, show_progress)

    @validated
    def add_embedded(self, documents: Iterable[Document | str], vectors: Embeddings, fingerprint: str) -> list[str]:
        """Upsert documents with given embeddings.

        Args:
            documents: n documents.
            vectors: (n, W) unit rows.
            fingerprint: of the context that the vectors were made under.

        Raises:
            ContextMismatchError: the fingerprint is not that of the index's context.
            ConfigurationError: the vectors have the wrong shape or length.
        """
        require_collection(documents)
        documents = list(documents)
        with self._writing("adding documents") as snapshot:
            self._view.check(fingerprint)
            matrix = checked_embeddings(vectors, len(documents), self._view.width, ConfigurationError)
            intake = DocumentValidator(snapshot.rows_by_id, snapshot.manifest.named, replacing=True)
            admitted = list(intake.admit(documents))
            if admitted:
                self._commit(admitted, matrix, intake.named)
            return [str(document.id) for document in admitted]

    def delete(self, ids: Iterable[str]) -> list[str]:
        """Remove documents.

        Returns:
            The ids that were in the index.

        Raises:
            ConfigurationError: `ids` is not a collection of ids.
            IndexLockedError, ReadOnlyError, WriteError: as `add`.
        """
        wanted = dict.fromkeys(checked_ids(ids))
        with self._writing("deleting documents") as snapshot:
            known = [identity for identity in wanted if identity in snapshot.rows_by_id]
            if known:
                rows = [snapshot.rows_by_id[identity] for identity in known]
                self._serve(commit_change(self._store, snapshot, None, rows, snapshot.manifest.named))
            return known

    def optimize(self) -> None:
        """Drop deleted documents from the files, merge small files, and rebuild the accelerator of "ivf" and "hnsw"."""
        with self._writing("optimizing") as snapshot:
            manifest = compact(self._store, snapshot.manifest)
            manifest = manifest.changed(generation=manifest.generation + 1)
            self._serve(self._store.commit(manifest))

    @validated
    def refit(
        self,
        *,
        embedder: Embedder | None = None,
        context: CorpusContext | None = None,
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        judged: JudgedQueries | None = None,
        batch_size: int = BATCH,
        show_progress: bool | None = None,
    ) -> RefitReport:
        """Fit a new context on the documents as they are now, and embed each of them once under it.

        The old generation serves all searches, in every process, until the new one replaces it in one instant.
        After an interruption the same call continues where it was.

        Args:
            embedder: another model to change to; the index's if None.
            context: fitted before, used instead of fitting one here.
            size: context documents; the model's own number if None.
            strategy: how they are chosen: "random", "kmeans" or "diverse".
            seed: of that choice.
            judged: queries to search with before and after, for the report.
            batch_size: documents per commit.
            show_progress: None shows a bar for long work only.

        Raises:
            ContextTooSmallError: fewer than two distinct documents.
            ContextMismatchError: another model fitted the context.
            MissingDependencyError: judged queries need ir-measures.
            IndexLockedError, ReadOnlyError, WriteError: as `add`; finished batches are kept.
        """
        with self._writing("refitting") as served:
            request = BuildRequest(
                embedder=self.embedder if embedder is None else embedder,
                context=context,
                size=size,
                strategy=strategy,
                seed=seed,
                kind=self.kind,
                batch=batch_size,
            )
            before = self._judge(judged)
            old = self.context.fingerprint
            manifest, embedded, seconds = build_next(self._store, served, request, show_progress)
            self._adopt(self._store.snapshot(manifest), self._store.context(manifest), request.embedder)
            self._store.sweep()
            new = self.context.fingerprint
            return RefitReport(len(self), embedded, seconds, old, new, before, self._judge(judged))

    def _judge(self, judged: JudgedQueries | None) -> float | None:
        if judged is None:
            return None
        found = self.search(list(judged.queries.values()), k=DEPTH)
        run = {query: {hit.id: hit.score for hit in hits} for query, hits in zip(judged.queries, found, strict=True)}
        return judged.ndcg_at_10(run)

    def _append(
        self, intake: DocumentValidator, documents: Iterable[Document | str], show_progress: bool | None
    ) -> list[str]:
        admitted: Iterable[Document] = intake.admit(documents)
        if isinstance(documents, Sequence):
            admitted = list(admitted)  # so that a bad document at the end is found before the first is embedded
        ids: list[str] = []
        with progress_bar(size_of(documents), show_progress, "Indexing", "document") as bar:
            width = self._view.width
            for batch in batches(admitted, BATCH):
                self._commit(batch, embedded(self.embedder, batch, self.context, width, bar), intake.named)
                ids += [str(document.id) for document in batch]
        return ids

    def _commit(self, batch: Sequence[Document], vectors: Embeddings, named: int) -> None:
        snapshot = self._view.snapshot
        replaced = [snapshot.rows_by_id[str(d.id)] for d in batch if d.id in snapshot.rows_by_id]
        entry = write_segment(self._store.home, batch, vectors)
        self._serve(commit_change(self._store, snapshot, entry, replaced, named))

    def _serve(self, manifest: Manifest) -> None:
        self._adopt(self._store.snapshot(manifest), self.context)
        self._store.sweep()

    @contextmanager
    def _writing(self, task: str) -> Iterator[Snapshot]:
        """Hold the index for writing, at its newest generation."""
        if self.read_only:
            raise ReadOnlyError(f"the index in {self.path} was opened for reading; open it without read_only=True")
        state = f"the index is still there, at generation {self.generation} or later"
        with self._changing, disk_errors_explained(self.path, state):
            self._store.served()  # if the index was moved away, not even a lock is left there
            with writer_lock(self.path, task):
                self.refresh()
                self._store.set_aside_damaged_staging()
                self._store.claim()
                self._store.sweep()
                yield self._view.snapshot
