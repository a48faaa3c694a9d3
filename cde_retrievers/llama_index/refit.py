"""Refit of a served LlamaIndex store: its nodes under a new context, in a collection that takes its place."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.node_layout import NodeLayout
from cde_retrievers.llama_index.stamps import stamped
from cde_retrievers.llama_index.stores import vector_store_of
from cde_retrievers.llama_index.vector_documents import embedded_text
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.stores.chroma import METADATA, TEXT, ChromaCollection
from cde_retrievers.stores.collection import Collection
from cde_retrievers.stores.milvus import MilvusCollection
from cde_retrievers.stores.postgres import PostgresTable, Statement
from cde_retrievers.stores.qdrant import QdrantCollection
from cde_retrievers.stores.refit import RefitJob, StoreRefit, refit
from cde_retrievers.stores.served import ServedStore
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated


@validated
def refit_store(
    index: VectorStoreIndex | StorageContext | BasePydanticVectorStore,
    embed_model: ContextBoundEmbedding,
    context_path: str | Path,
    new_nodes: Iterable[BaseNode] = (),
    *,
    switch: bool = True,
    batch_size: int = 256,
) -> StoreRefit[BasePydanticVectorStore, ContextBoundEmbedding]:
    """Fit a new context on the nodes of a served vector store, and move the store to it.

    Every node is read from the store, embedded under the new context, stamped with it, and written into a new
    collection. That is checked, and then the name that readers use leads to it. The old collection is kept until
    `drop_old()` of the result. After an interruption the same call continues: what is in the new collection already is
    not embedded again. Stop writing to the store meanwhile; reading goes on.

    Example:
        ```python
        done = refit_store(index, embed_model, "context-2")
        index = VectorStoreIndex.from_vector_store(done.store, embed_model=done.embeddings)
        done.drop_old()  # once every reader has the new context
        ```

    Args:
        index: a vector store of Chroma, Milvus, Postgres or Qdrant, or an index over it.
        embed_model: its embedding. It keeps its context, and its settings are those of the new one.
        context_path: a new directory for the new context, or that of an interrupted call.
        new_nodes: further nodes, which replace those of the same ids.
        switch: whether the store's name leads to the new collection. Qdrant needs a store that is opened by an alias
            for that.
        batch_size: number of nodes that are read, embedded and written at once.

    Raises:
        ConfigurationError: the store cannot be refitted, or its name cannot be switched; nothing was done.
        StoreRefitError: nodes are changed all the time, or another collection has a name that is needed.
        ContextMismatchError: `context_path` holds the context of another model, or the store vectors of another width.
        ContextTooSmallError: there are fewer than two distinct nodes.
    """
    check_whole("batch_size", batch_size, 1)
    store = vector_store_of(index)
    served = _Served(store)
    new = {served.collection.id_of(node.node_id): node for node in new_nodes}
    return refit(RefitJob(served, embed_model, new, batch_size), Path(context_path), switch)


class _Served(ServedStore[BasePydanticVectorStore, BaseNode, ContextBoundEmbedding]):
    """A LlamaIndex vector store."""

    def __init__(self, store: BasePydanticVectorStore) -> None:
        self._store = store
        self.collection, self.layout, self._open = _parts(store)

    def fit(self, embeddings: ContextBoundEmbedding, texts: Iterable[str]) -> ContextBoundEmbedding:
        """Return a copy of the embedding, fitted on the texts."""
        return copy(embeddings).fit(texts, refit=True)

    def over(self, collection: Collection, embeddings: ContextBoundEmbedding) -> BasePydanticVectorStore:
        """Return a store of the same class; LlamaIndex's know no embedding."""
        return self._open(self._store, collection)

    def text_of(self, item: BaseNode) -> str:
        """Return the text that LlamaIndex embeds."""
        return embedded_text(item)

    def add(self, store: BasePydanticVectorStore, items: Sequence[BaseNode], embeddings: ContextBoundEmbedding) -> None:
        """Add nodes."""
        store.add(list(embeddings(stamped(items, embeddings, reembed=True))))


_MILVUS_ID = "id"  # LlamaIndex's name of the primary key
_POSTGRES_TABLE = "data_"  # which LlamaIndex puts before a table's name
_Parts = tuple[Collection, NodeLayout, Callable[[Any, Any], BasePydanticVectorStore]]


def _chroma(store: Any) -> _Parts:
    def opened(store: Any, collection: ChromaCollection) -> BasePydanticVectorStore:
        made: BasePydanticVectorStore = type(store)(chroma_collection=collection.opened())
        return made

    return ChromaCollection(store._collection, store._collection.name), NodeLayout(METADATA, TEXT), opened


def _qdrant(store: Any) -> _Parts:
    def opened(store: Any, collection: QdrantCollection) -> BasePydanticVectorStore:
        twin: BasePydanticVectorStore = store.model_copy(update={"collection_name": collection.name})
        return twin

    return QdrantCollection(store._client, store.collection_name, store.dense_vector_name), NodeLayout(), opened


def _milvus(store: Any) -> _Parts:
    def opened(store: Any, collection: MilvusCollection) -> BasePydanticVectorStore:
        twin: BasePydanticVectorStore = store.model_copy(update={"collection_name": collection.name})
        return twin

    collection = MilvusCollection(store.client, store.collection_name, _MILVUS_ID, store.embedding_field)
    return collection, NodeLayout(text_key=store.text_key), opened


def _postgres(store: Any) -> _Parts:
    def opened(store: Any, table: PostgresTable) -> BasePydanticVectorStore:
        settings = signature(type(store)).parameters.keys() & type(store).model_fields
        # The table exists, and a second setup would build a second index.
        changed = {"table_name": table.name.removeprefix(_POSTGRES_TABLE), "perform_setup": False}
        engines = {"engine": store._engine, "async_engine": store._async_engine}
        made: BasePydanticVectorStore = type(store)(
            **{name: getattr(store, name) for name in settings} | changed,
            **engines,
            customize_query_fn=store._customize_query_fn,
        )
        return made

    store._initialize()
    name = f"{_POSTGRES_TABLE}{store.table_name}"
    table = PostgresTable(partial(_run, store), store.schema_name, name, "node_id", "embedding")
    return table, NodeLayout("metadata_", "text"), opened


def _run(store: Any, statements: Sequence[Statement]) -> Sequence[Sequence[Any]]:
    """Run statements in one transaction -> the rows of the last one."""
    text = imported("sqlalchemy", "a PGVectorStore").text
    with store._session() as session, session.begin():
        for statement, values in statements:
            result = session.execute(text(statement), values)
        rows: Sequence[Sequence[Any]] = result.fetchall() if result.returns_rows else ()
        return rows


# By the name of the class, because importing the clients of many databases would take seconds.
_STORES: dict[str, Callable[[Any], _Parts]] = {
    "llama_index.vector_stores.chroma.base.ChromaVectorStore": _chroma,
    "llama_index.vector_stores.milvus.base.MilvusVectorStore": _milvus,
    "llama_index.vector_stores.postgres.base.PGVectorStore": _postgres,
    "llama_index.vector_stores.qdrant.base.QdrantVectorStore": _qdrant,
}


def _parts(store: BasePydanticVectorStore) -> _Parts:
    if isinstance(store, ContextualVectorStore):
        raise ConfigurationError("a ContextualVectorStore is refitted by its index: store.index.refit()")
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(store).__mro__)
    found = next((_STORES[name] for name in names if name in _STORES), None)
    if found is None:
        known = ", ".join(sorted(name.rpartition(".")[2] for name in _STORES))
        raise ConfigurationError(
            f"a {type(store).__name__} cannot be refitted; refitted are {known}. Fit the embedding on its nodes with "
            f"refit=True, and build a new index from them"
        )
    return found(store)
