"""LlamaIndex's vector store over an index that carries its context."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE
from llama_index.core.vector_stores.types import (
    DEFAULT_PERSIST_DIR,
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.filters import Missing
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.query_modes import MMR_OPTIONS, SearchRequest, refuse_options
from cde_retrievers.llama_index.vector_checks import SampleCheck, node_vectors
from cde_retrievers.llama_index.vector_documents import checked_nodes, from_index_document, to_index_documents
from cde_retrievers.llama_index.vector_files import copy_index, create_index, open_index, persisted_path, require_local
from cde_retrievers.llama_index.vector_search import IndexSearch
from cde_retrievers.validation.signatures import validated


class ContextualVectorStore(BasePydanticVectorStore):
    """Nodes, vectors and the context they were embedded under, in one directory; nothing in it is pickled.

    Example:
        ```python
        embed_model = ContextualEmbedding("minilm").fit(nodes)
        store = ContextualVectorStore(embed_model, "my_index")
        storage = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes, storage_context=storage, embed_model=embed_model)

        store = ContextualVectorStore.open("my_index")  # later: model and context come with it
        index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        ```

    Every change is on disk when the call returns. Without a `path` the index is in a temporary directory, which is
    removed with the object. Once the embedding or the index is refitted, searching and adding raise
    ContextMismatchError until the store is opened again. Safe to use from several threads; one process writes at a
    time. Asynchronous methods run in a thread.

    LlamaIndex passes vectors without their model or context. The store therefore embeds a sample itself and compares:
    one node of each call of `add`, the first query, and one query in a hundred after it.

    Args:
        embed_model: a fitted embedding, for the nodes and the queries.
        path: a new directory for the index; a temporary one if None.
        index: an open index to use instead.
        verify: compare a sample; False if vectors should differ from those of the texts, as with HyDE.
        missing: what a field of a filter is that no node has: an error, or "empty", so that every node is without it.

    Raises:
        ContextNotFittedError: `embed_model` has no context.
        ContextMismatchError: `index` was built under another context.
        PathInUseError: there is already an index (use `open`), or something else, at `path`.
        ConfigurationError: both `path` and `index` are given, or `embed_model` has `side="query"`.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    verify: bool = Field(default=True, description="Compare a sample of the vectors with those of embed_model.")

    _search: IndexSearch = PrivateAttr()
    _sample: SampleCheck = PrivateAttr()
    _is_temporary: bool = PrivateAttr()

    @validated
    def __init__(
        self,
        embed_model: ContextBoundEmbedding,
        path: str | Path | None = None,
        *,
        index: ContextualIndex | None = None,
        verify: bool = True,
        missing: Missing = "error",
    ) -> None:
        embed_model.require_contextual_documents("ContextualVectorStore")
        if path is not None and index is not None:
            raise ConfigurationError("give the path of a new index or an open one, not both")
        super().__init__(stores_text=True)
        self.verify = verify
        self._search = IndexSearch(embed_model, create_index(embed_model, path) if index is None else index, missing)
        self._sample = SampleCheck(embed_model)
        self._is_temporary = path is None and index is None

    @classmethod
    @validated
    def open(
        cls,
        path: str | Path,
        embed_model: ContextBoundEmbedding | None = None,
        *,
        read_only: bool = False,
        verify: bool = True,
        missing: Missing = "error",
    ) -> Self:
        """Open a store over an index on disk, made by any program.

        Args:
            path: directory of the index.
            embed_model: an embedding under the index's context. If it has no context, the store uses a view of it under
                the index's, its `embed_model`. If None, the model is loaded by the name that the index carries.
            read_only: refuse changes.
            verify: as for the constructor.
            missing: as for the constructor.

        Raises:
            IndexFileError, ContextFileError: the index does not exist, is unfinished, or has damaged files.
            ContextMismatchError: `embed_model` is of another model or context.
        """
        bound, index = open_index(path, embed_model, read_only)
        return cls(bound, index=index, verify=verify, missing=missing)

    @classmethod
    @validated
    def from_persist_dir(
        cls,
        persist_dir: str | Path = DEFAULT_PERSIST_DIR,
        embed_model: ContextBoundEmbedding | None = None,
        *,
        namespace: str = DEFAULT_VECTOR_STORE,
        fs: Any = None,
        read_only: bool = False,
        verify: bool = True,
        missing: Missing = "error",
    ) -> Self:
        """Open the index that `storage_context.persist(persist_dir)` wrote, in place; otherwise as `open`."""
        require_local(fs)
        path = persisted_path(persist_dir, namespace)
        return cls.open(path, embed_model, read_only=read_only, verify=verify, missing=missing)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "ContextualVectorStore"

    @property
    def client(self) -> ContextualIndex:
        """The index, for operations that LlamaIndex does not have, such as `refresh()` and `optimize()`."""
        return self._search.index

    @property
    def embed_model(self) -> ContextBoundEmbedding:
        """The embedding of queries and nodes."""
        return self._search.embed_model

    @property
    def context_fingerprint(self) -> str:
        """Fingerprint of the index's context."""
        return self.client.context.fingerprint

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the best nodes for a query with their scores, best first.

        Args:
            query: mode "default" by the cosine of the vectors; "hybrid" by vectors and words together; "sparse" or
                "text_search" by words alone, which finds only nodes that share a word with the query; "mmr" for nodes
                near to the query and different from each other. `filters` are those of `vector_filters`; `doc_ids`
                and `node_ids` restrict the search, unless they are empty. `similarity_top_k` nodes are returned, unless
                `hybrid_top_k` ("hybrid") or `sparse_top_k` ("sparse", "text_search") is given. Without `alpha`,
                "hybrid" is the index's own fusion. With it the score is alpha s + (1 - alpha) l / M, s the cosine, l
                the node's BM25 and M the best one: 1 is vectors alone, 0 words alone.
            kwargs: for "mmr", by `vector_store_kwargs` of `as_retriever`: `mmr_threshold`, the weight of the nearness
                from 0 to 1 (.5 by default), and `mmr_prefetch_k`, the number of nearest nodes to select from (four
                times `similarity_top_k` by default, and at least 100).

        Raises:
            ContextMismatchError: `embed_model` was refitted, or the query's vector is not the one of its text.
            ConfigurationError: another mode, no vector or one of another width, no text where words are searched, an
                index that was built without words, or an unknown option.
            FilterError: a filter is impossible, or names a field that no node has, if such a one is an error.
        """
        self._search.check_context()
        refuse_options(kwargs, known=MMR_OPTIONS)
        request = SearchRequest.of(query, self.embed_model.embedder.width)
        if self.verify and query.query_str and request.vector is not None:
            self._sample.check_query(query.query_str, request.vector)
        hits = self._search.hits(query, request, kwargs)
        return VectorStoreQueryResult(
            nodes=[from_index_document(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Call `query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes without their vectors, restricted to these ids and filters if given; ignores unknown ids."""
        return [from_index_document(found) for found in self._search.select(node_ids, filters)]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Call `get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Add nodes with their vectors; each replaces the node that had its id.

        Returns:
            The ids, in order.

        Raises:
            ContextMismatchError: embedding or index were refitted since, a node is stamped with another context, or its
                vector is not the one of its text.
            ConfigurationError: a node has no vector, or one of another width; or an option is given.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: a node is invalid; none was added.
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.add`.
        """
        refuse_options(add_kwargs)
        fingerprint = self._search.check_context()
        nodes = checked_nodes(nodes)
        if not nodes:
            return []
        documents = to_index_documents(nodes, fingerprint)
        vectors = node_vectors(nodes, self.embed_model.embedder.width)
        if self.verify:
            self._sample.check_nodes(nodes, vectors)
        with self._search.lock:
            return self.client.add_embedded(documents, vectors, fingerprint)

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Call `add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a document."""
        refuse_options(delete_kwargs)
        with self._search.lock:
            source = self._search.of_source([ref_doc_id])
            if source is not None:
                self.client.delete(self.client.ids(source))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Call `delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove the nodes that have these ids and pass the filters; unknown ids are ignored.

        Raises:
            ConfigurationError: neither ids nor filters are given; use `clear` to remove all nodes.
        """
        refuse_options(delete_kwargs)
        if node_ids is None and not (filters and filters.filters):
            raise ConfigurationError("delete_nodes() needs node_ids or filters; to remove all nodes call clear()")
        with self._search.lock:
            self.client.delete([str(found.id) for found in self._search.select(node_ids, filters)])

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Call `delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Remove all nodes; the index and its context stay."""
        with self._search.lock:
            self.client.delete(self.client.ids())

    async def aclear(self) -> None:
        """Call `clear` in a thread."""
        await asyncio.to_thread(self.clear)

    @validated
    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Copy the index into the directory `persist_path`, for `from_persist_dir`; an index there is replaced.

        This store continues to use its own index. If that is the one at `persist_path`, nothing is copied.

        Raises:
            ConfigurationError: `fs` is not the local disk.
            PathInUseError: something else is at `persist_path`.
            IndexLockedError, WriteError: another process is writing to the index, or the copy cannot be written.
        """
        require_local(fs)
        copy_index(self.client, persist_path)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The index is on disk; copies share it.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        # LlamaIndex's own pickling drops attributes that it cannot pickle, such as the index, and only logs it.
        if self._is_temporary:
            raise ConfigurationError(
                "this store is in a temporary directory, which is removed with it; to use it in another process, "
                "create it with ContextualVectorStore(embed_model, path)"
            )
        index, missing = self.client, self._search.missing
        reopen = partial(type(self).open, read_only=index.read_only, verify=self.verify, missing=missing)
        return reopen, (index.path, self.embed_model)
