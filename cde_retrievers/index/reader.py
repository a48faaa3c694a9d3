"""Reading an index: its documents, and searches.

Axes: Q and n rows, E width of an embedding, W numbers of a stored vector.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index.filters import Filter, Missing
from cde_retrievers.index.generation import Generation
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.open_index import OpenIndex
from cde_retrievers.index.queries import EncodedQueries, Mode
from cde_retrievers.index.search import search
from cde_retrievers.index.sources_file import SourceRecord, read_sources
from cde_retrievers.index.vector_format import Dtype
from cde_retrievers.retrieval.document import Document, Hit, checked_ids
from cde_retrievers.sparse.bm25 import query_rows
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, as_unit_rows, checked_embeddings, checked_vectors


class IndexReader:
    """One generation of an index on disk, open for reading: what drift, guards and measures need of an index.

    `ContextualIndex` adds the changes.
    """

    def __init__(self, state: OpenIndex) -> None:
        self._state = state

    def __len__(self) -> int:
        return len(self._current.snapshot)

    def __contains__(self, document_id: object) -> bool:
        return isinstance(document_id, str) and document_id in self._current.snapshot.rows_by_id

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} documents, generation {self.generation}, {self.kind}, "
            f"path={str(self.path)!r}, context={self.context!r})"
        )

    @property
    def path(self) -> Path:
        """Directory of the index."""
        return self._state.store.directory

    @property
    def context(self) -> CorpusContext:
        """Context that documents and queries are embedded under."""
        return self._current.context

    @property
    def embedder(self) -> Embedder:
        """Embedder of the index, loaded by the name in its context if none was given."""
        return self._state.embedder_of(self._current)

    @property
    def generation(self) -> int:
        """Number of the generation, which grows by one with every change of its documents."""
        return self._current.snapshot.manifest.generation

    @property
    def kind(self) -> Kind:
        """How an index of 10,000 documents or more is searched: "flat", "ivf" or "hnsw"."""
        return self._current.snapshot.manifest.kind

    @property
    def dtype(self) -> Dtype:
        """How the numbers of a vector are stored: "float32", "int8" or "binary"."""
        return self._current.vector_format.dtype

    @property
    def dimensions(self) -> int:
        """How many numbers of an embedding are stored, W."""
        return self._current.vector_format.dimensions

    @property
    def mode(self) -> Mode:
        """How it is searched by default: "hybrid", or "dense" if it was built without term statistics."""
        return self._current.mode

    @property
    def damaged(self) -> tuple[str, ...]:
        """What is wrong with each damaged file, all of which are left out.

        Without `salvage=True` this can only be the accelerator of "ivf" and "hnsw", which `optimize` rebuilds, or the
        record of the sources.
        """
        return self._current.snapshot.damaged

    @property
    def sources(self) -> tuple[SourceRecord, ...]:
        """What is recorded of where the documents come from, as the command line does.

        Raises IndexFileError if the record is missing, for example since another process replaced this generation.
        """
        return read_sources(self.path, self._current.snapshot.manifest)

    def has_vector_of(self, text: str) -> bool:
        """Whether `upsert` would reuse a vector for this text."""
        return self._current.snapshot.vector_of_text(text) is not None

    @property
    def fields(self) -> frozenset[str]:
        """Metadata fields that filters can name: those that at least one document has."""
        return self._current.snapshot.fields

    def documents(self, filter: Filter | None = None, *, missing: Missing = "error") -> Iterator[Document]:
        """Yield every document that passes the filter, in the order they were added, one in memory at a time.

        Raises FilterError as `search` does.
        """
        return self._current.snapshot.documents(filter, missing)

    def texts(self) -> Iterator[str]:
        """Yield the text of every document."""
        return (document.text for document in self.documents())

    def ids(self, filter: Filter | None = None, *, missing: Missing = "error") -> list[str]:
        """Return the ids of the documents that pass the filter, in the order they were added; errors as `documents`."""
        return list(self._current.snapshot.ids(filter, missing))

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Return the documents with these ids, and None for an id that is not in the index.

        Raises ConfigurationError if `ids` is not a collection of ids.
        """
        snapshot = self._current.snapshot
        rows = [snapshot.rows_by_id.get(identity) for identity in checked_ids(ids)]
        return [None if row is None else snapshot.document(row) for row in rows]

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return the vectors (n, W) of documents, as float32 unit rows however they are stored.

        Raises:
            KeyError: an id is not in the index.
            ConfigurationError: `ids` is not a collection of ids.
        """
        snapshot = self._current.snapshot
        return snapshot.vectors([snapshot.rows_by_id[identity] for identity in checked_ids(ids)])

    def cut(self, embeddings: Embeddings) -> Embeddings:
        """Return embeddings (n, E) as they are compared with `vectors`: their first W numbers, as unit rows (n, W).

        Raises ConfigurationError if they have another width.
        """
        form = self._current.vector_format
        return form.cut(as_unit_rows(checked_vectors(embeddings, None, form.width, ConfigurationError)))

    @overload
    def search(
        self,
        query: str,
        k: int = 10,
        filter: Filter | None = None,
        *,
        mode: Mode | None = None,
        missing: Missing = "error",
    ) -> list[Hit]: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = 10,
        filter: Filter | None = None,
        *,
        mode: Mode | None = None,
        missing: Missing = "error",
    ) -> list[list[Hit]]: ...

    @validated
    def search(
        self,
        query: str | list[str] | tuple[str, ...],
        k: int = 10,
        filter: Filter | None = None,
        *,
        mode: Mode | None = None,
        missing: Missing = "error",
    ) -> list[Hit] | list[list[Hit]]:
        """Find the best documents for a query, or for each of several, best first.

        Args:
            query: a question, or a list of them.
            k: hits per query.
            filter: which documents may be found, by their metadata, such as `{"year": {"$gte": 2020}}`; see
                `cde_retrievers.index.filters`.
            mode: "hybrid" for vectors and words together, "dense" for vectors alone, "lexical" for words alone, which
                finds only documents that share one with the query; None for the index's own `mode`.
            missing: what a field of the filter is that no document has: an error, since it is likely misspelt, or
                "empty", so that every document is without it. Here and in `ids` and `documents`.

        Returns:
            A list of hits, or one such list per query.

        Raises:
            ConfigurationError: `k` is not a positive whole number, or the index cannot be searched in that mode.
            ContextMismatchError: the installed analyzer yields other words than the one the index was built with.
            FilterError: the filter is impossible, or names a field that no document has, if such a one is an error.
            InvalidTextError: a query is not a string of valid Unicode.
            EmbeddingServiceError: the embedder did not return one unit vector for each query.
        """
        queries = list(checked_texts([query] if isinstance(query, str) else query))
        check_whole("k", k, 1)
        current = self._current  # one generation, even if a writer replaces it meanwhile
        mode = current.checked_mode(mode)
        dense = sparse = None
        if mode != "lexical":
            answer = self._state.embedder_of(current).encode_queries(queries, current.context, show_progress=False)
            form = current.vector_format
            dense = form.cut(checked_embeddings(answer, len(queries), form.width))
        if mode != "dense":
            sparse = query_rows(queries, current.context.term_statistics())
        hits = search(current.snapshot, EncodedQueries(dense, sparse), k, filter, missing)
        return hits[0] if isinstance(query, str) else hits

    @validated
    def search_embedded(
        self,
        queries: Embeddings,
        fingerprint: str,
        k: int = 10,
        filter: Filter | None = None,
        *,
        texts: list[str] | None = None,
        missing: Missing = "error",
    ) -> list[list[Hit]]:
        """Search as `search` does, for queries that are already embedded.

        Args:
            queries: (Q, E); scaled to length 1, as a mean of embeddings is not.
            fingerprint: fingerprint of the context they were embedded under.
            k: hits per query.
            filter: as in `search`.
            texts: the queries as texts, for a search in mode "hybrid"; None to search by the vectors alone.
            missing: as in `search`.

        Raises:
            ContextMismatchError: it is not the context of the index.
            ConfigurationError: the vectors have another width, `k` is not a positive whole number, or `texts` are not
                as many as the vectors or are given for an index without postings.
            FilterError: as `search`.
        """
        check_whole("k", k, 1)
        current = self._current
        current.check_fingerprint(fingerprint)
        known = None if texts is None else list(checked_texts(texts))
        form = current.vector_format
        checked = checked_vectors(queries, None if known is None else len(known), form.width, ConfigurationError)
        vectors = form.cut(as_unit_rows(checked))
        if known is not None:
            current.checked_mode("hybrid")
        sparse = None if known is None else query_rows(known, current.context.term_statistics())
        return search(current.snapshot, EncodedQueries(vectors, sparse), k, filter, missing)

    def refresh(self) -> bool:
        """Move to the newest generation; return whether it is another one.

        Raises ContextMismatchError if the index was refitted with another model than the one given to `open`.
        """
        return self._state.refresh()

    @property
    def _current(self) -> Generation:
        return self._state.current
