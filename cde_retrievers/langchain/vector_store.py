"""LangChain's vector store over an index that carries its context."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.contextual_index import BATCH
from cde_retrievers.index.incoming_documents import DocumentValidator, batches
from cde_retrievers.index.manifest import Kind
from cde_retrievers.langchain.dense_search import refuse_options
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.vector_documents import checked_documents, to_index_documents, with_uuid
from cde_retrievers.langchain.vector_files import bound_to_context, build_index, open_or_create_index
from cde_retrievers.langchain.vector_search import ContextualSearch
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated


class ContextualVectorStore(ContextualSearch):
    """Documents, vectors and the context they were embedded under, in one directory; nothing in it is pickled.

    Example:
        ```python
        embeddings = ContextualEmbeddings(model="minilm").fit(documents)
        store = ContextualVectorStore.from_documents(documents, embeddings, path="my_index")
        store.similarity_search("a question", k=3, filter={"year": {"$gte": 2020}})

        store = ContextualVectorStore.open("my_index")  # later: model and context come with it
        ```

    Every change is on disk when the call returns. Without a `path` the index is in a temporary directory, which is
    removed with the object. Once the embeddings or the index are refitted, searching and adding raise
    ContextMismatchError until the store is opened again. Safe to use from several threads; one process writes at a
    time. Changes of another process are seen after `store.index.refresh()`, and when something is added.

    A search by a text is by its vector and its words together, `search_type="hybrid"`; "similarity" is by the vector
    alone, "lexical" by the words alone. An index that was built without words is searched by "similarity", until
    `store.index.refit()`.

    Relevance scores, and with them `score_threshold`, are from 0 to 1: of "similarity" (1 + cosine) / 2, of "hybrid"
    (1 + score) / (2 + a), since the score is the cosine plus at most a, `fusion.LEXICAL_WEIGHT`. Both keep the order.

    Args:
        embedding: embeddings with a fitted context.
        path: directory of an index to open, or a new or empty directory in which to create one.
        index: an open index to use instead.
        kind: kind of a new index: "flat" (exact, the default), "hnsw" or "ivf" (approximate from 10,000 documents on).

    Raises:
        ConfigurationError: the embeddings are not bound to a context, or the settings contradict each other.
        ContextNotFittedError: their context is not fitted yet.
        ContextMismatchError: the index was built under another context.
        CDEError: as `ContextualIndex.create` and `ContextualIndex.open`.
    """

    @validated
    def __init__(
        self,
        embedding: Embeddings,
        path: str | Path | None = None,
        *,
        index: ContextualIndex | None = None,
        kind: Kind | None = None,
    ) -> None:
        if index is not None and (path is not None or kind is not None):
            raise ConfigurationError("an open index already has a path and a kind; give index= alone")
        if index is None:
            index = open_or_create_index(bound_to_context(embedding), path, kind)
        super().__init__(embedding, index)

    @classmethod
    @validated
    def open(cls, path: str | Path, embedding: Embeddings | None = None, *, read_only: bool = False) -> Self:
        """Open a store over an index on disk, made by any program.

        Args:
            path: directory of the index.
            embedding: embeddings under the index's context. If they have no context, the store uses a view of them
                under the index's, its `embeddings`. If None, the model is loaded by the name that the index carries.
            read_only: refuse changes.

        Raises:
            IndexFileError, ContextFileError: the index does not exist, is unfinished, or has damaged files.
            ContextMismatchError: the embeddings are of another model or context.
        """
        given = None if embedding is None else bound_to_context(embedding)
        index = ContextualIndex.open(path, None if given is None else given.embedder, read_only=read_only)
        bound = ContextualEmbeddings(encoder=index.embedder) if given is None else given
        return cls(bound if bound.is_fitted else bound.with_context(index.context), index=index)

    @classmethod
    @validated
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        path: str | Path | None = None,
        kind: Kind | None = None,
        batch_size: int = BATCH,
        **unknown: Any,
    ) -> Self:
        """Build a store of texts; `from_documents` takes the same options.

        There is nothing to open at `path` before all is done; after an interruption the same call continues from there.
        Texts without an id get the ids "doc-0", "doc-1" and so on.

        Args:
            texts: n texts.
            embedding: embeddings with a fitted context; `ContextualRetriever.from_documents` also fits it.
            metadatas: n dictionaries of JSON values.
            ids: n ids.
            path: a new or empty directory; a temporary one if None.
            kind: as in the constructor.
            batch_size: documents per commit.
            unknown: refused.

        Raises:
            PathInUseError: there is an index at `path` already; open it and add to it.
            ConfigurationError, ContextNotFittedError: as the constructor.
            CDEError: as `add_texts`.
        """
        refuse_options(unknown)
        documents = to_index_documents(texts, metadatas, ids)
        return cls(embedding, index=build_index(documents, bound_to_context(embedding), path, kind, batch_size))

    def add_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """Embed and add documents, with their ids unless `ids` are given; otherwise as `add_texts`."""
        return super().add_documents(checked_documents(documents), **options)

    @validated
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH,
        **unknown: Any,
    ) -> list[str]:
        """Embed texts under the index's context and add them; each replaces the document that had its id.

        Args:
            texts: n texts.
            metadatas: n dictionaries of JSON values.
            ids: n ids; a text without one gets a UUID.
            batch_size: documents per commit.
            unknown: refused.

        Returns:
            The ids, in order.

        Raises:
            ContextMismatchError: embeddings or index were refitted since.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: a document is invalid; none was embedded.
            ConfigurationError: there are more or fewer metadatas or ids than texts, or an option is impossible.
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.add`; complete batches stay added.
        """
        refuse_options(unknown)
        check_whole("batch_size", batch_size, 1)
        documents = list(DocumentValidator().admit(map(with_uuid, to_index_documents(texts, metadatas, ids))))
        self._index.refresh()
        self._check_context()
        with progress_bar(len(documents), self._embeddings.show_progress, "Indexing", "document") as bar:
            for batch in batches(documents, batch_size):
                self._embeddings.use_context(self._index.context.fingerprint)
                self._index.upsert(batch, show_progress=False)
                bar.update(len(batch))
        return [str(document.id) for document in documents]

    def delete(self, ids: Sequence[str] | None = None, **unknown: Any) -> bool:
        """Remove the documents with these ids, or all documents if `ids` is None; unknown ids are ignored.

        Returns:
            True: the store no longer contains them.

        Raises:
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.delete`.
        """
        refuse_options(unknown)
        if ids is None:
            self._index.refresh()
            ids = self._index.ids()
        self._index.delete(ids)
        return True
