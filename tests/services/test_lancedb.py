"""LanceDB's tables: what can be written into one that is missing, or by an old client."""

import pytest
from served import LanceDB
from servers import OVER_SERVERS

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain import ContextualRetriever, read_context, write_context

pytestmark = OVER_SERVERS


def test_a_table_that_is_missing_is_named(tmp_path, guarded):
    embeddings, service = guarded(), LanceDB(None, tmp_path)
    store = service.open(embeddings, "missing")
    assert read_context(store) is None
    with pytest.raises(ConfigurationError, match="there is no table 'missing' in this database yet"):
        write_context(store, embeddings)


def test_a_client_that_cannot_write_it_says_so_before_anything_is_added(tmp_path, guarded, documents, monkeypatch):
    embeddings, service = guarded(), LanceDB(None, tmp_path)
    options = {**service.options("old"), "vectorstore_class": service.store_class()}
    monkeypatch.delattr("lancedb.table.LanceTable.update_field_metadata")
    monkeypatch.delattr("lancedb.table.Table.update_field_metadata")
    with pytest.raises(ConfigurationError, match="pip install --upgrade 'lancedb>="):
        ContextualRetriever.from_documents(documents, embeddings=embeddings, **options)
    assert service.open(embeddings, "old").similarity_search("red cat") == []
