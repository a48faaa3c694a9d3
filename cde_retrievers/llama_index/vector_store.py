"""LlamaIndex's `BasePydanticVectorStore` over an index that carries its context."""

from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any, Self

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE
from llama_index.core.vector_stores.types import (
    DEFAULT_PERSIST_DIR,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.llama_index.vector_files import copy_index, new_index, persisted_path, require_local
from cde_retrievers.llama_index.vector_nodes import (
    check_vector,
    checked_nodes,
    embedded_text,
    to_document,
    to_node,
    vectors_of,
)
from cde_retrievers.llama_index.vector_search import NodeSearch, refuse_options, to_index_filter
from cde_retrievers.llama_index.vector_threads import ThreadedVectorStore
from cde_retrievers.validation.signatures import validated

_QUERIES_PER_CHECK = 100


class ContextualVectorStore(ThreadedVectorStore):
    """Nodes and their vectors in a `ContextualIndex`, under the one context that they were embedded under.

    Example:
        ```python
        embed_model = ContextualEmbedding("minilm").fit(nodes)
        store = ContextualVectorStore(embed_model, "my_index")
        storage = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes, storage_context=storage, embed_model=embed_model)

        store = ContextualVectorStore.open("my_index")  # later: model and context come with it
        index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        ```

    LlamaIndex hands over vectors that do not say how they were made. So the store refuses to work once `embed_model`
    is under another context than the index, and embeds a sample itself to compare: one node of each call of `add`,
    the first query, and one in a hundred after it.

    Every change is on disk when the call returns. Safe to use from several threads.

    Args:
        embed_model: fitted; what the nodes and the queries are embedded with.
        path: a new directory for the index; without one it lies in a temporary one, which goes when the store does.
        index: an open index to use instead.
        verify: compare a sample. False where vectors shall differ from those of the texts, as with HyDE.

    Raises:
        ContextNotFittedError: `embed_model` has no context.
        ContextMismatchError: `index` is under another context.
        PathInUseError: there is an index at `path` already (use `open`), or something else.
        ConfigurationError: both `path` and `index` are given.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    verify: bool = Field(default=True, description="Compare a sample of the vectors with what embed_model makes.")

    _index: ContextualIndex = PrivateAttr()
    _embed_model: ContextualEmbedding = PrivateAttr()
    _search: NodeSearch = PrivateAttr()
    _is_temporary: bool = PrivateAttr()
    _queries: int = PrivateAttr(default=0)
    # Held by changes, and where one answer takes two looks at the index.
    _lock: RLock = PrivateAttr(default_factory=RLock)

    @validated
    def __init__(
        self,
        embed_model: ContextualEmbedding,
        path: str | Path | None = None,
        *,
        index: ContextualIndex | None = None,
        verify: bool = True,
    ) -> None:
        if path is not None and index is not None:
            raise ConfigurationError("give the path of a new index or an open one, not both")
        context, embedder = embed_model.context, embed_model._binding.encoder
        super().__init__(stores_text=True)
        self.verify = verify
        self._embed_model = embed_model
        self._index = new_index(embedder, context, path) if index is None else index
        self._is_temporary = path is None and index is None
        self._search = NodeSearch(self._index, embedder.width, self._lock)
        self._checked_fingerprint()

    @classmethod
    @validated
    def open(
        cls,
        path: str | Path,
        embed_model: ContextualEmbedding | None = None,
        *,
        read_only: bool = False,
        verify: bool = True,
    ) -> Self:
        """A store over an index on disk, made by any program.

        Args:
            path: directory of the index.
            embed_model: of the index's context; one without a context gives its model to a new one, see the
                attribute `embed_model`. If None, the model is loaded by the name that the index carries.
            read_only: refuse changes.
            verify: as for the constructor.

        Raises:
            IndexFileError: there is no index, or files are damaged; names them.
            ContextFileError: its context is missing or damaged.
            ContextMismatchError: `embed_model` is under another context, or is another model.
        """
        given = None if embed_model is None else embed_model._binding.encoder
        index = ContextualIndex.open(path, given, read_only=read_only)
        if embed_model is None:
            embed_model = ContextualEmbedding(encoder=index.embedder)
        if not embed_model._binding.is_fitted:
            embed_model = embed_model.with_context(index.context)
        return cls(embed_model, index=index, verify=verify)

    @classmethod
    @validated
    def from_persist_dir(
        cls,
        persist_dir: str | Path = DEFAULT_PERSIST_DIR,
        embed_model: ContextualEmbedding | None = None,
        *,
        namespace: str = DEFAULT_VECTOR_STORE,
        fs: Any = None,
        read_only: bool = False,
        verify: bool = True,
    ) -> Self:
        """Open what `storage_context.persist(persist_dir)` wrote, in place; the rest is as in `open`."""
        require_local(fs)
        return cls.open(persisted_path(persist_dir, namespace), embed_model, read_only=read_only, verify=verify)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "ContextualVectorStore"

    @property
    def client(self) -> ContextualIndex:
        """The index."""
        return self._index

    @property
    def embed_model(self) -> ContextualEmbedding:
        """The embedding to use for nodes and queries."""
        return self._embed_model

    @property
    def context_fingerprint(self) -> str:
        """Identity of the context that the index is under."""
        return self._index.context.fingerprint

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Store nodes with their vectors; a node whose id is there already takes the other's place.

        Returns:
            Their ids, in order.

        Raises:
            ContextMismatchError: `embed_model` was refitted, a node is stamped with another context, or its vector is
                not what `embed_model` makes of it.
            ConfigurationError: a node has no vector, or one of another width; or an option is given.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: about a node.
            IndexLockedError, ReadOnlyError, WriteError: the index cannot be written to.
        """
        refuse_options(add_kwargs)
        fingerprint = self._checked_fingerprint()
        nodes = checked_nodes(nodes)
        if not nodes:
            return []
        documents = [to_document(node, fingerprint) for node in nodes]
        vectors = vectors_of(nodes, self._embed_model._binding.encoder.width)
        if self.verify:
            sample = len(nodes) // 2
            expected = self._embed_model._binding.encode_documents([embedded_text(nodes[sample])], show_progress=False)
            check_vector(vectors[sample], expected[0], f"node {nodes[sample].node_id}", fingerprint)
        with self._lock:
            return self._index.add_embedded(documents, vectors, fingerprint)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to a query's vector, best first, with their cosines.

        Args:
            query: mode "default", or "mmr" for nodes that are near to the query but not to each other. `filters` as in
                `vector_filters`; `doc_ids` and `node_ids` search only among these, empty lists among all.
            kwargs: for "mmr", by `vector_store_kwargs` of `as_retriever`: `mmr_threshold` from 0 (diverse) to 1 (near,
                .5 by default), and `mmr_prefetch_k`, how many of the nearest to choose among (four times
                `similarity_top_k`, and at least 100).

        Raises:
            ContextMismatchError: `embed_model` was refitted, or the query's vector is not what it makes of the text.
            ConfigurationError: another mode, no vector or one of another width, or an unknown option.
            FilterError: a filter is impossible, or names a field that no node has.
        """
        fingerprint = self._checked_fingerprint()
        if self.verify and query.query_str and query.query_embedding is not None:
            if self._queries % _QUERIES_PER_CHECK == 0:
                expected = self._embed_model._binding.encode_queries([query.query_str], show_progress=False)
                check_vector(self._search.vector(query), expected[0], f"query {query.query_str[:60]!r}", fingerprint)
            self._queries += 1
        result = self._search.answer(query, fingerprint, kwargs)
        self._checked_fingerprint()  # the index may have been refitted meanwhile
        return result

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes without their vectors: those of the ids that are there, those that pass the filters, or all."""
        return [to_node(found) for found in self._select(node_ids, filters)]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes that were made of a document."""
        refuse_options(delete_kwargs)
        with self._lock:
            source = self._search.of_source([ref_doc_id])
            if source is not None:
                self._index.delete(self._index.ids(source))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove those of the nodes that are there, those that pass the filters, or those that are both.

        Raises:
            ConfigurationError: neither is given, which would be all of them.
        """
        refuse_options(delete_kwargs)
        if node_ids is None and not (filters and filters.filters):
            raise ConfigurationError("delete_nodes() needs node_ids or filters; to remove every node call clear()")
        with self._lock:
            self._index.delete([str(found.id) for found in self._select(node_ids, filters)])

    def clear(self) -> None:
        """Remove every node; the index and its context stay."""
        with self._lock:
            self._index.delete(self._index.ids())

    @validated
    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Copy the index into the directory `persist_path`, for `from_persist_dir`; one there is replaced.

        This store continues with its own index. One that was opened there has nothing to copy.

        Raises:
            ConfigurationError: `fs` is not the local disk.
            PathInUseError: something else is at `persist_path`.
            IndexLockedError, WriteError: the index is being written to, or the copy cannot be.
        """
        require_local(fs)
        copy_index(self._index, persist_path)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # What is stored is on disk; copies look at the same place.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        # LlamaIndex's own pickling drops what it cannot pickle, the index with it, and says so only in a log.
        if self._is_temporary:
            raise ConfigurationError(
                "this store is in a temporary directory, which is removed with it; to use it in another process, make "
                "it with ContextualVectorStore(embed_model, path)"
            )
        return _reopen, (type(self), self._index.path, self._embed_model, self._index.read_only, self.verify)

    def _select(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[Document]:
        query_filter = to_index_filter(filters)
        with self._lock:
            if node_ids is None:
                return list(self._index.documents(query_filter))
            return self._search.among(node_ids, query_filter)

    def _checked_fingerprint(self) -> str:
        """The fingerprint that the index and the embedding have in common, or ContextMismatchError."""
        yours = self._embed_model.context.fingerprint
        ContextCheck(theirs=self._index.context.fingerprint, yours=yours).raise_if_different()
        return yours


def _reopen(
    kind: type[ContextualVectorStore], path: Path, embed_model: ContextualEmbedding, read_only: bool, verify: bool
) -> ContextualVectorStore:
    return kind.open(path, embed_model, read_only=read_only, verify=verify)
