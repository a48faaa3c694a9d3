"""The stamps on documents, and filters for them."""

import sys

import pytest
from langchain_core.documents import Document

from cde_retrievers.errors import ConfigurationError, InvalidTextError, MissingDependencyError
from cde_retrievers.langchain import CONTEXT_KEY, context_filter, stamped


def test_stamped_documents_are_copies(guarded):
    embeddings, document = guarded(), Document("a", metadata={"x": 1}, id="7")
    (copy,) = stamped(iter([document]), embeddings)
    assert copy == Document("a", metadata={"x": 1, CONTEXT_KEY: embeddings.context_fingerprint}, id="7")
    assert document.metadata == {"x": 1}
    with pytest.raises(InvalidTextError, match="found str; wrap texts"):
        stamped(["a text"], embeddings)


def test_a_filter_is_combined_with_the_users_own(new_store, guarded, documents, other):
    embeddings = guarded()
    store = new_store(embeddings)
    store.add_documents(stamped(documents[:4], embeddings))
    store.add_documents(stamped(documents[4:8], guarded(other)))
    assert rows(store, context_filter(embeddings, store)) == [0, 1, 2, 3]
    theirs = users_own(new_store.kind)
    assert rows(store, theirs) == [2, 3, 4, 5, 6, 7]
    assert rows(store, context_filter(embeddings, new_store.kind, theirs)) == [2, 3]


def rows(store, wanted):
    return sorted(hit.metadata["row"] for hit in store.similarity_search("red cat", k=50, filter=wanted))


def users_own(kind):
    if kind == "chroma":
        return {"row": {"$gte": 2}}
    if kind == "qdrant":
        from qdrant_client import models

        return models.Filter(must=[models.FieldCondition(key="metadata.row", range=models.Range(gte=2))])
    return lambda document: document.metadata["row"] >= 2


@pytest.mark.parametrize("kind", ["inmemory", "chroma", "qdrant", "pgvector", "Chroma"])
def test_a_filter_of_the_wrong_kind_is_refused(kind, guarded):
    pytest.importorskip("qdrant_client")
    with pytest.raises(ConfigurationError, match=r"a filter for \w+ is a"):
        context_filter(guarded(), kind, also=7)


def test_a_missing_package_is_named(guarded, monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client.models", None)
    with pytest.raises(MissingDependencyError, match="a filter for Qdrant needs langchain-qdrant: pip install lang"):
        context_filter(guarded(), "qdrant")
