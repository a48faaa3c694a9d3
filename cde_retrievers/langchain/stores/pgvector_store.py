"""PGVectorStore: the context is in the comment on the table."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.langchain.stores.interface import (
    StoreKind,
    cosine_itself,
    cosine_of_cosine_distance,
    cosine_of_distance,
    dictionary_filter,
)
from cde_retrievers.langchain.stores.layout import DocumentLayout
from cde_retrievers.stores.postgres import PostgresTable, Statement
from cde_retrievers.util.imports import imported


class PGVectorStore(StoreKind):
    """`langchain_postgres.PGVectorStore`, over a table that `PGEngine.init_vectorstore_table` made."""

    name = "PGVectorStore"

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open the table, which must exist."""
        given = {**options}
        engine, table = given.pop("engine"), given.pop("table_name")
        store: VectorStore = store_class.create_sync(engine, embeddings, table, **given)
        return store

    def unreadable_reason(self, store: Any) -> str | None:
        """Return a reason for an engine without an event loop of its own: it answers only in the caller's."""
        if isinstance(store, type) or store._engine._loop is not None:
            return None
        return "its engine has no event loop; make one by PGEngine.from_connection_string"

    def count(self, store: Any) -> int:
        """Return the number of documents in the table."""
        return _table(store).count()

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the comment on the table, or None."""
        return _table(store).stamp()

    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint as a line of the comment, whose other text stays. Only the table's owner may comment."""
        _table(store).write_stamp(fingerprint)

    def collection(self, store: Any) -> tuple[PostgresTable, DocumentLayout]:
        """Return the table. Without a column of JSON its documents carry no stamp."""
        inner = _inner(store)
        return _table(store), DocumentLayout(inner.content_column, inner.metadata_json_column)

    def over(self, store: Any, collection: PostgresTable, embeddings: Embeddings) -> VectorStore:
        """Return a store over another table."""
        twin: Any = copy(store)
        twin._PGVectorStore__vs = inner = copy(_inner(store))
        inner.table_name, inner.embedding_service = collection.name, embeddings
        opened: VectorStore = twin
        return opened

    def filter(self, fingerprint: str, also: Any, store: Any) -> dict[str, Any]:
        """Return a filter dictionary."""
        return dictionary_filter(fingerprint, also, self.name)

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the store's distance strategy."""
        by_strategy = {
            "COSINE_DISTANCE": cosine_of_cosine_distance,
            "EUCLIDEAN": cosine_of_distance,
            "INNER_PRODUCT": cosine_itself,
        }
        return by_strategy[_inner(store).distance_strategy.name]


def _inner(store: Any) -> Any:
    """Return the asynchronous store inside, which knows the table."""
    return store._PGVectorStore__vs


def _table(store: Any) -> PostgresTable:
    inner = _inner(store)
    return PostgresTable(
        partial(_run, store), inner.schema_name, inner.table_name, inner.id_column, inner.embedding_column
    )


def _run(store: Any, statements: Sequence[Statement]) -> Sequence[Sequence[Any]]:
    """Run statements in one transaction, in the engine's own event loop -> the rows of the last one."""
    text = imported("sqlalchemy", "a PGVectorStore").text

    async def run() -> Sequence[Sequence[Any]]:
        async with store._engine._pool.begin() as connection:
            for statement, values in statements:
                result = await connection.execute(text(statement), values)
            return result.fetchall() if result.returns_rows else ()

    rows: Sequence[Sequence[Any]] = store._engine._run_as_sync(run())
    return rows
