"""An index with its context: vectors, documents and the context they were embedded under, in one directory."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.index.build_request import BuildRequest
from cde_retrievers.index.create import create_index, finish_build
from cde_retrievers.index.exclusive import ExclusiveAccess
from cde_retrievers.index.incoming_documents import require_collection
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.open_index import OpenIndex
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.refit import RefitReport, ndcg_of, serve_refitted
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.symlinks import index_directory
from cde_retrievers.index.vector_format import Dtype
from cde_retrievers.retrieval.document import Document, checked_ids
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import Embeddings

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
    it calls `refresh` or makes a change itself. Safe to use from several threads.

    Every change raises IndexLockedError while another writer, in any process, holds the index; ReadOnlyError if the
    index was opened for reading; and WriteError if the disk is full or not writable. Batches already committed stay.

    Make one with `build`, `create` or `open`.
    """

    def __init__(self, state: OpenIndex, read_only: bool) -> None:
        super().__init__(state)
        self.read_only = read_only
        self._access = ExclusiveAccess(state, read_only)

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
        language: str | None = "english",
        kind: Kind = "flat",
        dtype: Dtype = "float32",
        dimensions: int | None = None,
        batch_size: int = BATCH,
        show_progress: bool | None = None,
        source: SourceRecord | None = None,
    ) -> Self:
        """Fit a context on the documents, embed them under it, and write the index, which is served when complete.

        Texts are never all in memory, and finished batches are kept: after an interruption the same call continues
        where it was. If documents have changed since, it continues under the context fitted before, and embeds only
        texts that have no vector. Documents without an id are named "doc-0", "doc-1" and so on.

        Args:
            documents: texts or documents; read twice, or once if a `context` is given.
            embedder: for example `ContextualEncoder.from_pretrained("minilm")`.
            path: directory of the index: new, empty, or holding an interrupted build.
            context: a fitted context, used instead of fitting one.
            size: number of context documents; the model's own if None.
            strategy: how context documents are chosen: "random", "kmeans" or "diverse".
            seed: seed of that choice.
            language: language of stems and stop words, as in `cde_retrievers.sparse.Analyzer`; None for neither.
            kind: "flat" (exact), or "hnsw" or "ivf" (approximate from 10,000 documents on).
            dtype: how vectors are stored and searched: "float32", "int8" (a quarter of the bytes) or "binary" (signs
                alone, one in 32).
            dimensions: how many numbers of an embedding to keep, from the first on, normalised again; for models that
                were trained with `matryoshka_dimensions`. None for all.
            batch_size: number of documents per commit.
            show_progress: show a bar; None for long work only.
            source: where the documents come from, to be recorded; see `corpora.recorded_source`.

        Raises:
            PathInUseError: `path` already holds an index, or something else.
            ConfigurationError: documents that can be read only once need a `context`; or an interrupted build at `path`
                had other settings, or less than half of its texts are still there; or embeddings cannot be cut so.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: a document cannot be stored; raised before
                anything is embedded, unless a `context` is given.
            ContextMismatchError: another model fitted the context.
            IndexLockedError, WriteError: as every change.
        """
        request = BuildRequest(
            embedder=embedder,
            context=context,
            size=size,
            strategy=strategy,
            seed=seed,
            language=language,
            kind=kind,
            dtype=dtype,
            dimensions=dimensions,
            batch=batch_size,
            source=source,
        )
        store, snapshot, fitted = finish_build(documents, request, path, show_progress)
        return cls(OpenIndex(store, snapshot, fitted, embedder), read_only=False)

    @classmethod
    @validated
    def create(
        cls,
        embedder: Embedder,
        context: CorpusContext,
        path: str | Path,
        *,
        kind: Kind = "flat",
        dtype: Dtype = "float32",
        dimensions: int | None = None,
    ) -> Self:
        """Create an index without documents, under a fitted context; arguments and errors as in `build`."""
        store, snapshot = create_index(embedder, context, path, kind, dtype, dimensions)
        return cls(OpenIndex(store, snapshot, context, embedder), read_only=False)

    @classmethod
    @validated
    def open(
        cls, path: str | Path, embedder: Embedder | None = None, *, read_only: bool = False, salvage: bool = False
    ) -> Self:
        """Open an index on disk and check every file.

        Args:
            path: directory of the index.
            embedder: the embedder that the index was built with. If None, the model is loaded by name at first use;
                that raises ConfigurationError if it is another library's embedding.
            read_only: refuse changes.
            salvage: open the undamaged files for reading; `damaged` lists the others. Documents whose vectors are
                damaged are in `documents()` but are not found by searches.

        Raises:
            ConfigurationError: `path` cannot be the path of a directory.
            IndexFileError: there is no index, or it is not finished, or files are damaged; names them. If only the
                accelerator of "ivf" or "hnsw" is damaged, a warning is logged and searches are exact until `optimize`.
            ContextFileError: the context is missing or damaged.
            ContextMismatchError: the embedder is of another model.
        """
        store = IndexStore(index_directory(path))
        snapshot, context = store.salvage() if salvage else store.open()
        return cls(OpenIndex(store, snapshot, context, embedder), read_only=read_only or salvage)

    @validated
    def add(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """Embed documents under the index's context, append them in commits of 2,048, and return their ids in order.

        A text that is in the index already is not embedded again, if the index has at most a hundred documents for each
        of a list of new ones: all its texts are read for that. `upsert` reads them always.

        Raises:
            DuplicateIdError: an id occurs twice or is already in the index; `upsert` replaces.
            InvalidDocumentError, InvalidTextError: a document cannot be stored; raised before any of a list is added.
        """
        with self._access.for_one_change("adding documents") as writer:
            return writer.append(documents, BATCH, show_progress, replacing=False)

    @validated
    def upsert(self, documents: Iterable[Document | str], *, show_progress: bool | None = None) -> list[str]:
        """Add documents as `add` does, but replace those whose id is already in the index, each in one instant.

        A document without an id is always new. A text that is in the index already, also under another id, is not
        embedded again.
        """
        with self._access.for_one_change("replacing documents") as writer:
            return writer.append(documents, BATCH, show_progress, replacing=True)

    @validated
    def add_embedded(self, documents: Iterable[Document | str], vectors: Embeddings, fingerprint: str) -> list[str]:
        """Upsert documents with given embeddings, in one commit.

        Args:
            documents: n documents.
            vectors: (n, E) unit rows, E the width of the embedder; stored as the index stores vectors.
            fingerprint: fingerprint of the context that the vectors were made under.

        Raises:
            ContextMismatchError: it is not the context of the index.
            ConfigurationError: the vectors have the wrong shape or length.
        """
        require_collection(documents)
        with self._access.for_one_change("adding documents") as writer:
            return writer.append_embedded(list(documents), vectors, fingerprint)

    def delete(self, ids: Iterable[str]) -> list[str]:
        """Remove documents, and return the ids that were in the index.

        Raises:
            ConfigurationError: `ids` is not a collection of ids.
        """
        wanted = dict.fromkeys(checked_ids(ids))
        with self._access.for_one_change("deleting documents") as writer:
            return writer.delete(wanted)

    @validated
    def record_source(self, source: SourceRecord, instead_of: Iterable[str] = ()) -> None:
        """Record where documents come from, in place of what was recorded of that path and of those in `instead_of`."""
        with self._access.for_one_change("recording a source") as writer:
            writer.record_source(source, frozenset(instead_of))

    def exclusively(self, task: str) -> AbstractContextManager[None]:
        """Hold the index for several changes, so that no other writer comes between them.

        Within the block the index is at its newest generation. Other threads wait for its end, other processes and
        other objects of the same index are refused.

        Args:
            task: the purpose, shown to writers that are refused, such as "following its sources".
        """
        return self._access.for_several_changes(task)

    def optimize(self) -> None:
        """Drop deleted documents from the files, merge small files, and rebuild the accelerator of "ivf" and "hnsw"."""
        with self._access.for_one_change("optimizing") as writer:
            writer.compact()

    @validated
    def refit(
        self,
        *,
        embedder: Embedder | None = None,
        context: CorpusContext | None = None,
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        language: str | None = "english",
        judged: JudgedQueries | None = None,
        batch_size: int = BATCH,
        show_progress: bool | None = None,
    ) -> RefitReport:
        """Fit a new context on the documents as they are now, and embed each of them once under it.

        The old generation serves all searches, in every process, until the new one replaces it in one instant.
        After an interruption the same call continues where it was. `embedder` is that of another model to change to,
        `judged` are queries to search with before and after, for the report; other arguments are as in `build`.

        Raises:
            ContextTooSmallError: there are fewer than two distinct documents.
            ConfigurationError: embeddings of the other model are narrower than the `dimensions` of the index.
            ContextMismatchError: another model fitted the context.
            MissingDependencyError: judged queries need ir-measures, which is not installed.
        """
        with self._access.for_one_change("refitting"):
            request = BuildRequest(
                embedder=self.embedder if embedder is None else embedder,
                context=context,
                size=size,
                strategy=strategy,
                seed=seed,
                language=language,
                kind=self.kind,
                dtype=self.dtype,
                dimensions=self._current.snapshot.manifest.dimensions,
                batch=batch_size,
            )
            before, old = ndcg_of(self, judged), self.context.fingerprint
            done, seconds = serve_refitted(self._state, request, show_progress)
            return RefitReport(len(self), done, seconds, old, self.context.fingerprint, before, ndcg_of(self, judged))
