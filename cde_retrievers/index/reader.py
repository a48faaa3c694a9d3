"""The reading side of an index: documents, searches, and moving to a newer generation.

Axes: Q queries, W width.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock, RLock
from typing import overload

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index.entries import index_directory
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.manifest import Kind, Manifest
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.view import View
from cde_retrievers.retrieval.document import Document, Hit, checked_ids
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings, checked_vectors


class IndexReader:
    """One generation of an index on disk, open for reading; `ContextualIndex` adds what changes it.

    Args:
        store: of the index's directory.
        snapshot: the generation.
        context: of that generation.
        embedder: of the model that it was built with; loaded by the name in the index, at the first need, if None.

    Raises:
        ContextMismatchError: the embedder is another model.
    """

    def __init__(
        self, store: IndexStore, snapshot: Snapshot, context: CorpusContext, embedder: Embedder | None
    ) -> None:
        self._store = store
        self._view = View(snapshot, context, embedder)
        self._loaded: dict[str, Embedder] = {}
        self._loading = Lock()
        self._changing = RLock()

    def __len__(self) -> int:
        return len(self._view.snapshot)

    def __contains__(self, document_id: object) -> bool:
        return isinstance(document_id, str) and document_id in self._view.snapshot.rows_by_id

    def __repr__(self) -> str:
        return (
            f"ContextualIndex({len(self)} documents, generation {self.generation}, {self.kind}, "
            f"path={str(self.path)!r}, context={self.context!r})"
        )

    @property
    def path(self) -> Path:
        """Directory of the index."""
        return self._store.directory

    @property
    def context(self) -> CorpusContext:
        """The context that documents and queries are embedded under."""
        return self._view.context

    @property
    def embedder(self) -> Embedder:
        """The model; loaded by the name that the index carries, if none was given."""
        return self._embedder_of(self._view)

    @property
    def generation(self) -> int:
        """Counts up by one with every change."""
        return self._view.snapshot.manifest.generation

    @property
    def kind(self) -> Kind:
        """How large indexes are searched: "flat", "ivf" or "hnsw"."""
        return self._view.snapshot.manifest.kind

    @property
    def damaged(self) -> tuple[str, ...]:
        """What is wrong with each file that is done without: with `salvage=True` any, otherwise only the candidates of
        "ivf" and "hnsw", which `optimize` makes anew.
        """
        return self._view.snapshot.damaged

    @property
    def fields(self) -> frozenset[str]:
        """Metadata fields that any document has; what filters can name."""
        return self._view.snapshot.fields

    def documents(self, filter: Filter | None = None) -> Iterator[Document]:
        """Every document that passes the filter, in the order in which they were added, one in memory at a time.

        Raises:
            FilterError: as `search`.
        """
        return self._view.snapshot.documents(filter)

    def texts(self) -> Iterator[str]:
        """The text of every document."""
        return (document.text for document in self.documents())

    def ids(self, filter: Filter | None = None) -> list[str]:
        """The id of every document that passes the filter, in the order in which they were added.

        Raises:
            FilterError: as `search`.
        """
        return list(self._view.snapshot.ids(filter))

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents with these ids, None where there is none.

        Raises:
            ConfigurationError: that is not a collection of ids.
        """
        snapshot = self._view.snapshot
        rows = [snapshot.rows_by_id.get(identity) for identity in checked_ids(ids)]
        return [None if row is None else snapshot.document(row) for row in rows]

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """The embeddings (n, W) of documents.

        Raises:
            KeyError: an id is not in the index.
            ConfigurationError: that is not a collection of ids.
        """
        snapshot = self._view.snapshot
        return snapshot.vectors([snapshot.rows_by_id[identity] for identity in checked_ids(ids)])

    @overload
    def search(self, query: str, k: int = 10, filter: Filter | None = None) -> list[Hit]: ...

    @overload
    def search(
        self, query: list[str] | tuple[str, ...], k: int = 10, filter: Filter | None = None
    ) -> list[list[Hit]]: ...

    @validated
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
            EmbeddingServiceError: the embedder answered with something that is not one unit vector for each query.
        """
        queries = list(checked_texts([query] if isinstance(query, str) else query))
        _check_k(k)
        view = self._view  # one generation, whatever a writer does meanwhile
        answer = self._embedder_of(view).encode_queries(queries, view.context, show_progress=False)
        hits = view.search(checked_embeddings(answer, len(queries), view.width), k, filter)
        return hits[0] if isinstance(query, str) else hits

    @validated
    def search_embedded(
        self, queries: Embeddings, fingerprint: str, k: int = 10, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """As `search`, for queries that are embedded already.

        Args:
            queries: (Q, W) unit rows.
            fingerprint: of the context that they were embedded under.
            k: hits per query.
            filter: as in `search`.

        Raises:
            ContextMismatchError: that is another context than the index's.
            ConfigurationError: the vectors have another width, or `k` is no positive whole number.
            FilterError: as `search`.
        """
        _check_k(k)
        view = self._view
        view.check(fingerprint)
        return view.search(checked_vectors(queries, None, view.width, ConfigurationError), k, filter)

    def refresh(self) -> bool:
        """Look at the newest generation from now on; whether there was one.

        Raises:
            ContextMismatchError: the index was refitted by another model than the one given to `open`.
        """
        with self._changing:
            if self._is_newest(self._store.served()):
                return False
            self._adopt(*self._store.open())
            return True

    def _is_newest(self, served: Manifest) -> bool:
        """Whether this is the generation that is served."""
        own = self._view.snapshot.manifest
        if self.damaged:  # and therefore not all of its manifest is there
            return (own.identity, own.generation) == (served.identity, served.generation)
        return own == served  # all of it: a copy that was put back may have the same number and other files

    def _adopt(self, snapshot: Snapshot, context: CorpusContext, embedder: Embedder | None = None) -> None:
        snapshot.take_ids_of(self._view.snapshot)
        self._view = View(snapshot, context, self._view.embedder if embedder is None else embedder)

    def _embedder_of(self, view: View) -> Embedder:
        if view.embedder is not None:
            return view.embedder
        with self._loading:
            wanted = view.context.model_fingerprint
            if wanted not in self._loaded:
                require_loadable(view.context)
                loaded = ContextualEncoder.from_pretrained(view.context.model_name)
                loaded.check_context(view.context)
                self._loaded[wanted] = loaded
            return self._loaded[wanted]


def require_loadable(context: CorpusContext) -> None:
    """Raise ConfigurationError if the model of a context is not one of ours, which are loaded by their names."""
    if context.probe is not None:
        raise ConfigurationError(
            f"this index was made with the embedding {context.model_name!r} of another library, which cannot be loaded "
            f"by its name; pass it when you open the index: ContextualVectorStore.open(path, "
            f"WhitenedEmbeddings(base=...)), ContextualVectorStore.open(path, WhitenedEmbedding(base=...)) "
            f"or ContextualIndex.open(path, embedder)"
        )


def _check_k(k: object) -> None:
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ConfigurationError(f"k must be a positive whole number of hits, found {shown(k)}")


def holds_index(path: str | Path) -> bool:
    """Whether there is a finished index in the directory."""
    return IndexStore(index_directory(path)).is_served


def context_of_index(index: IndexReader | str | Path) -> str:
    """Fingerprint of the context of an index, or of the one in a directory, as it is served now.

    Raises:
        IndexFileError: there is no index, it is not finished, or its manifest is damaged.
    """
    directory = index.path if isinstance(index, IndexReader) else index_directory(index)
    return IndexStore(directory).served().context
