"""PGVectorStore: the context is in the comment on the table."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.langchain.stores.interface import (
    StoreKind,
    checked_filter,
    cosine_itself,
    cosine_of_cosine_distance,
    cosine_of_distance,
)
from cde_retrievers.util.imports import imported

_IN_COMMENT = re.compile(rf"\n?{CONTEXT_KEY}=(\S+)")
_READ = "SELECT obj_description(to_regclass(format('%I.%I', CAST(:schema AS text), CAST(:name AS text))), 'pg_class')"
# COMMENT takes no parameters, so these travel as settings of the transaction.
_SET = """SELECT set_config('cde.schema', :schema, true), set_config('cde.table', :name, true),
  set_config('cde.comment', :comment, true)"""
_WRITE = """DO $$ BEGIN EXECUTE format('COMMENT ON TABLE %I.%I IS %L',
  current_setting('cde.schema'), current_setting('cde.table'), current_setting('cde.comment')); END $$"""


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
        inner = _inner(store)
        schema, name = (each.replace('"', '""').replace(":", r"\:") for each in (inner.schema_name, inner.table_name))
        return int(_run(store, [(f'SELECT count(*) FROM "{schema}"."{name}"', {})]))

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the comment on the table, or None."""
        found = _IN_COMMENT.search(_comment(store))
        return found.group(1) if found else None

    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint as a line of the comment, whose other text stays. Only the table's owner may comment."""
        kept = _IN_COMMENT.sub("", _comment(store))
        comment = f"{kept}\n{CONTEXT_KEY}={fingerprint}" if kept else f"{CONTEXT_KEY}={fingerprint}"
        _run(store, [(_SET, {**_names(store), "comment": comment}), (_WRITE, {})])

    def filter(self, fingerprint: str, also: Any, store: Any) -> dict[str, Any]:
        """Return a filter dictionary."""
        ours: dict[str, Any] = {CONTEXT_KEY: fingerprint}
        also = checked_filter(also, dict, "a dictionary", self.name)
        return {"$and": [ours, also]} if also else ours

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


def _names(store: Any) -> dict[str, str]:
    inner = _inner(store)
    return {"schema": inner.schema_name, "name": inner.table_name}


def _comment(store: Any) -> str:
    return _run(store, [(_READ, _names(store))]) or ""


def _run(store: Any, statements: Sequence[tuple[str, dict[str, Any]]]) -> Any:
    """Run statements in one transaction, in the engine's own event loop -> the first value of the last one, if any."""
    text = imported("sqlalchemy", "a PGVectorStore").text

    async def run() -> Any:
        async with store._engine._pool.begin() as connection:
            for statement, values in statements:
                result = await connection.execute(text(statement), values)
            return result.scalar() if result.returns_rows else None

    return store._engine._run_as_sync(run())
