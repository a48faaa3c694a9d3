"""LangChain's vector store over an index that carries its context."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.contextual_index import BATCH
from cde_retrievers.index.incoming_documents import DocumentValidator, batches
from cde_retrievers.index.manifest import Kind
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.vector_documents import checked_documents, to_index, with_uuid
from cde_retrievers.langchain.vector_files import bound_to_context, build_index, open_or_create, progress_of
from cde_retrievers.langchain.vector_search import ContextualSearch, refuse_unknown
from cde_retrievers.util.progress import progress_bar
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
    removed with the object. The embeddings' context has to be the index's, at every call: after either was refitted,
    nothing is added and nothing is found, until the store is opened again. Safe to use from several threads; one
    process writes at a time. What another process writes is seen after `store.index.refresh()`, or when something is
    added.

    Relevance scores, and with them `score_threshold`, are (1 + cosine) / 2.

    Args:
        embedding: with a fitted context.
        path: directory of an index, which is opened; or one that is new or empty, where an index is created.
        index: one that is open, in place of a path.
        kind: of a new index: "flat" (exact, the default), or from 10,000 documents on approximate: "hnsw" or "ivf".

    Raises:
        ConfigurationError: the embeddings know no context, or the settings contradict each other.
        ContextNotFittedError: the embeddings have no context yet.
        ContextMismatchError: the index was built under another one.
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
            index = open_or_create(bound_to_context(embedding), path, kind)
        super().__init__(embedding, index)

    @classmethod
    @validated
    def open(cls, path: str | Path, embedding: Embeddings | None = None, *, read_only: bool = False) -> Self:
        """The store over an index that exists.

        Args:
            path: directory of the index.
            embedding: with the index's context; one without a context gives its model to a new one, see the attribute
                `embeddings`. If None, the model is loaded by the name that the index carries.
            read_only: refuse changes.

        Raises:
            IndexFileError, ContextFileError: the index does not exist, is not finished, or has damaged files; named.
            ContextMismatchError: the embeddings are of another model or context.
        """
        embedder = None if embedding is None else bound_to_context(embedding).embedder
        index = ContextualIndex.open(path, embedder, read_only=read_only)
        if embedding is None:
            embedding = ContextualEmbeddings(encoder=index.embedder)
        if isinstance(embedding, ContextBoundMixin) and not embedding._binding.is_fitted:
            embedding = embedding.with_context(index.context)
        return cls(embedding, index=index)

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
        """A new store of texts; `from_documents` takes the same options.

        There is nothing to open at `path` before all is done; after an interruption the same call continues where it
        was. Texts without an id are called "doc-0", "doc-1" and so on.

        Args:
            texts: n texts.
            embedding: with a fitted context; `ContextualRetriever.from_documents` fits it as well.
            metadatas: n dictionaries of JSON values.
            ids: n ids.
            path: a directory that is new or empty; a temporary one if None.
            kind: as in the constructor.
            batch_size: documents per commit.
            unknown: refused.

        Raises:
            PathInUseError: there is an index at `path`; open it and add to it.
            ConfigurationError, ContextNotFittedError: as the constructor.
            CDEError: as `add_texts`.
        """
        refuse_unknown(unknown)
        documents = to_index(texts, metadatas, ids)
        return cls(embedding, index=build_index(documents, bound_to_context(embedding), path, kind, batch_size))

    def add_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """As `add_texts`; a document brings its metadata, and its id unless there are `ids`."""
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
        """Embed texts under the index's context and add them; each takes the place of what had its id.

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
            InvalidDocumentError, InvalidTextError, DuplicateIdError: about a document; before any is embedded.
            ConfigurationError: there are more or fewer metadatas or ids than texts, or an option is impossible.
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.add`; whole batches stay added.
        """
        refuse_unknown(unknown)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigurationError(f"batch_size must be a positive whole number, found {shown(batch_size)}")
        documents = list(DocumentValidator().admit(map(with_uuid, to_index(texts, metadatas, ids))))
        self._index.refresh()
        self._check_context()
        with progress_bar(len(documents), progress_of(self._bound), "Indexing", "document") as bar:
            for batch in batches(documents, batch_size):
                self._bound.use_context(self._index.context.fingerprint)
                self._index.upsert(batch, show_progress=False)
                bar.update(len(batch))
        return [str(document.id) for document in documents]

    def delete(self, ids: Sequence[str] | None = None, **unknown: Any) -> bool:
        """Remove documents, all of them if `ids` is None; ids that are not there are none to remove.

        Returns:
            True: none of them is there any more.

        Raises:
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.delete`.
        """
        refuse_unknown(unknown)
        if ids is None:
            self._index.refresh()
            ids = self._index.ids()
        self._index.delete(ids)
        return True
