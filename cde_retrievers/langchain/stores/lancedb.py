"""LanceDB: the context is in the metadata of the table's column of vectors."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.interface import StoreKind, cosine_of_squared_distance
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.vectors import checked_width

_VECTORS = "vector"  # langchain-lancedb's name of the column


class LanceDB(StoreKind):
    """`langchain_lancedb.LanceDB`."""

    name = "LanceDB"
    no_refit_reason = "LanceDB can rename no table"

    def open(self, store_class: Any, embeddings: Any, options: dict[str, Any]) -> VectorStore:
        """Open the table; create it if it does not exist, so that it states its context before it has documents."""
        store: VectorStore = store_class(embedding_function=embeddings, **options)
        if _found_table(store) is None:
            _create_table(store, checked_width(embeddings.embedder.width))
        return store

    def count(self, store: Any) -> int:
        """Return the number of documents in the table."""
        table = _found_table(store)
        return 0 if table is None else int(table.count_rows())

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the metadata of the column, or None."""
        table = _found_table(store)
        found = None if table is None else (table.schema.field(_VECTORS).metadata or {}).get(CONTEXT_KEY.encode())
        return None if found is None else str(found, "utf-8")

    def write(self, store: Any, fingerprint: str) -> None:
        """Set the fingerprint; LanceDB keeps the column's other metadata.

        Raises:
            ConfigurationError: the table does not exist yet, or the installed lancedb cannot write such metadata.
        """
        table = _found_table(store)
        if table is None:
            raise ConfigurationError(
                f"there is no table {store._full_table_name!r} in this database yet; add documents first, or create it "
                f"by ContextualRetriever.from_documents(documents, vectorstore_class=LanceDB, ...)"
            )
        if not hasattr(table, "update_field_metadata"):
            raise ConfigurationError(
                "the installed lancedb does not add to the metadata of a column, in which a LanceDB store carries its "
                "context; pip install --upgrade 'lancedb>=0.34'"
            )
        table.update_field_metadata({"path": _VECTORS, "metadata": {CONTEXT_KEY: fingerprint}})

    def add(self, store: Any, documents: list[Document], options: dict[str, Any]) -> list[str]:
        """Add documents -> their ids. Documents replace earlier ones of ids that are given."""
        ids, table = options.get("ids"), _found_table(store)
        if ids is None or table is None or not documents:
            return super().add(store, documents, options)
        vectors = store._embedding_function.embed_documents([document.page_content for document in documents])
        rows = [
            {_VECTORS: vector, "text": document.page_content, "metadata": json.dumps(document.metadata), "id": identity}
            for identity, document, vector in zip(ids, documents, vectors, strict=True)
        ]
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        return list(ids)

    def filter(self, fingerprint: str, also: Any, store: Any) -> NoReturn:
        """Raise ConfigurationError: langchain-lancedb takes any filter and ignores it."""
        raise ConfigurationError(
            "langchain-lancedb does not filter: it ignores `filter=`. Keep one context per table; "
            "check_index(store, embeddings) compares it"
        )

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the square of the distance."""
        return cosine_of_squared_distance


def _found_table(store: Any) -> Any:
    """Return the table as it is now, or None if it does not exist."""
    table, _ = store._get_or_create_table()
    if table is not None:
        table.checkout_latest()  # the store keeps the version that it opened
    return table


def _create_table(store: Any, width: int) -> None:
    """Create the table with the columns that langchain-lancedb gives it."""
    lancedb = imported("lancedb", "a LanceDB store")
    arrow = imported("pyarrow", "a LanceDB store")
    texts = {name: arrow.string() for name in ("text", "metadata", "id")}
    schema = arrow.schema({_VECTORS: arrow.list_(arrow.float32(), width), **texts})
    lancedb.connect(store._uri).create_table(store._full_table_name, schema=schema)
