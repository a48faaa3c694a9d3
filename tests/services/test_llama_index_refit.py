"""`refit_store` over LlamaIndex's stores, with Chroma's in a real server."""

from itertools import count
from uuid import UUID

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from refitted import Killed, kill_changes_at
from served_llama_index import KINDS, Chroma, Milvus, Postgres, rows_of
from servers import OVER_LLAMA_INDEX
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, InvalidTextError
from cde_retrievers.llama_index import (
    ContextualEmbedding,
    ContextualRetriever,
    ContextualVectorStore,
    check_index,
    refit_store,
    stamped,
)

pytestmark = OVER_LLAMA_INDEX


def node(number, text):
    metadata = {"row": number, "title": f"title {number % 3}"}
    return TextNode(id_=str(UUID(int=number)), text=text, metadata=metadata, excluded_embed_metadata_keys=["row"])


NODES = [node(number, text) for number, text in enumerate(CORPUS)]
NEW = [node(100 + number, f"grinder {number} has {number} burrs of steel") for number in range(9)]
REFITTED = pytest.mark.parametrize("llama_service", [n for n, kind in KINDS.items() if kind.refit], indirect=True)


@pytest.fixture
def embedding(encoder):
    """An embedding under a context of fewer nodes than there are now."""
    return ContextualEmbedding(encoder=encoder).fit(CORPUS[:40])


def assert_embedded_under(done, nodes):
    """The nodes that a store finds are those of an exact search under its context."""
    rows = np.asarray([each.embedding for each in done.embeddings(stamped(nodes, done.embeddings, reembed=True))])
    by_text = {each.get_content(): row for row, each in enumerate(nodes)}
    index = VectorStoreIndex.from_vector_store(done.store, embed_model=done.embeddings)
    for query in ("red cat", "grinder of steel"):
        cosines = rows @ np.asarray(done.embeddings.get_query_embedding(query))
        hits = ContextualRetriever(index, done.embeddings, similarity_top_k=10).retrieve(query)
        found = [cosines[by_text[hit.node.get_content()]] for hit in hits]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)


@REFITTED
@pytest.mark.parametrize("is_stamped", [True, False])
def test_a_served_store_moves_to_a_new_context(llama_service, embedding, tmp_path, is_stamped, shows):
    name = llama_service.name()
    llama_service.name_for_readers(name)
    store = llama_service.open(name)
    store.add(embedding(stamped(NODES, embedding) if is_stamped else [each.model_copy() for each in NODES]))
    reader = ContextualRetriever(
        VectorStoreIndex.from_vector_store(llama_service.open(name), embed_model=embedding), embedding
    )
    assert len(reader.retrieve("red cat")) == 4
    done = refit_store(llama_service.open(name), embedding, tmp_path / "new", NEW, batch_size=20)
    assert (done.documents, done.embedded) == (len(NODES) + len(NEW),) * 2
    assert_embedded_under(done, [*NODES, *NEW])
    again = ContextualEmbedding(encoder=embedding.embedder, context_path=tmp_path / "new")
    assert check_index(llama_service.open(name), again).verdict == "same context"
    assert rows_of(llama_service.open(name), again) == [*range(len(NODES)), *range(100, 109)]
    assert rows_of(llama_service.open(done.old_collection), embedding) == list(range(len(NODES)))
    index = VectorStoreIndex.from_vector_store(llama_service.open(name), embed_model=embedding)
    with pytest.raises(ContextMismatchError, match="embedded under"):
        ContextualRetriever(index, embedding).retrieve("red cat")
    if not isinstance(llama_service, Chroma):  # whose readers stay with the old collection
        with pytest.raises(ContextMismatchError, match="embedded under"):
            reader.retrieve("red cat")
    more = [node(200 + number, f"kettle {number}") for number in range(40)]
    second = refit_store(llama_service.open(name), again, tmp_path / "second", more)
    assert second.documents == second.embedded == done.documents + len(more)
    done.drop_old()
    second.drop_old()
    assert_embedded_under(second, [*NODES, *NEW, *more])
    shows(llama_service, "refit", llama_service.refit)


@REFITTED
def test_a_refit_that_is_killed_at_any_moment_is_continued(llama_service, embedding, tmp_path):
    for step in count(1, 2):  # every step is killed at over LangChain's stores, whose refit is the same code
        path, served = tmp_path / f"context {step}", llama_service.name()
        llama_service.name_for_readers(served)
        llama_service.open(served).add(embedding(stamped(NODES, embedding)))
        with pytest.MonkeyPatch.context() as patch:
            kill_changes_at(patch, [(llama_service.collection, None), (llama_service.store_class, "add")], step)
            try:
                refit_store(llama_service.open(served), embedding, path, NEW, batch_size=40)
            except Killed:
                pass
            else:
                break
        done = refit_store(llama_service.open(served), embedding, path, NEW, batch_size=40)
        assert done.documents == len(NODES) + len(NEW)
        assert rows_of(done.store, done.embeddings) == [*range(len(NODES)), *range(100, 109)]
        assert rows_of(llama_service.open(done.old_collection), embedding) == list(range(len(NODES)))
        assert_embedded_under(done, [*NODES, *NEW])
    assert step > 8


@REFITTED
def test_entries_that_are_not_nodes_are_an_error(llama_service, embedding, tmp_path):
    name = llama_service.name()
    llama_service.name_for_readers(name)
    store = llama_service.open(name)
    store.add(embedding(stamped(NODES, embedding)))
    vector = embedding.get_query_embedding("cat")
    if isinstance(llama_service, Chroma):
        store._collection.add("other", [vector], [{"row": 7}], ["other"])
    elif isinstance(llama_service, Milvus):
        store.client.insert(name, {"id": "other", "doc_id": "other", "embedding": vector, "text": "other", "row": 7})
    elif isinstance(llama_service, Postgres):
        with store._session() as session, session.begin():
            session.add(store._table_class(node_id="other", text="other", embedding=vector, metadata_={"row": 7}))
    else:
        from qdrant_client import models

        llama_service.client.upsert(name, [models.PointStruct(id=7, vector={"text-dense": vector}, payload={"row": 7})])
    with pytest.raises(InvalidTextError, match="has no text"):
        refit_store(llama_service.open(name), embedding, tmp_path / "new")


def test_index_and_sequence_of_postgres_stay_with_the_name(postgres, embedding, tmp_path):
    service, hnsw = Postgres(postgres, tmp_path), {"hnsw_m": 8, "hnsw_ef_construction": 32, "hnsw_ef_search": 200}
    name = service.name()
    store = service.open(name, hnsw_kwargs={**hnsw})
    store.add(embedding(stamped(NODES, embedding)))
    done = refit_store(store, embedding, tmp_path / "new", NEW[:4])
    done.drop_old()
    again = service.open(name, hnsw_kwargs={**hnsw})
    again.add(done.embeddings(stamped(NEW[4:], done.embeddings)))
    assert rows_of(again, done.embeddings) == [*range(len(NODES)), *range(100, 109)]
    with again._session() as session:
        from sqlalchemy import text

        found = session.execute(text(f"SELECT indexname FROM pg_indexes WHERE tablename = 'data_{name}'"))
        assert sorted(found.scalars()) == [f"data_{name}_embedding_idx", f"data_{name}_expr_idx", f"data_{name}_pkey"]


def test_a_table_of_postgres_with_nodes_of_the_same_id_is_not_refitted(postgres, embedding, tmp_path):
    store = Postgres(postgres, tmp_path).open("twice")
    for _ in range(2):
        store.add(embedding(stamped(NODES[:3], embedding, reembed=True)))
    with pytest.raises(ConfigurationError, match="3 of its rows have the node_id of another one"):
        refit_store(store, embedding, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_wrong_password_of_postgres_is_an_error(postgres, embedding, tmp_path):
    store = Postgres(postgres, tmp_path).open("closed", password="wrong")
    for call in (check_index, lambda *given: refit_store(*given, tmp_path / "new")):
        with pytest.raises(Exception, match="password authentication failed"):
            call(store, embedding)
    assert not (tmp_path / "new").exists()


def test_other_stores_are_named(embedding, tmp_path):
    known = "ChromaVectorStore, MilvusVectorStore, PGVectorStore, QdrantVectorStore"
    with pytest.raises(ConfigurationError, match=f"a SimpleVectorStore cannot be refitted; refitted are {known}"):
        refit_store(SimpleVectorStore(), embedding, tmp_path / "new")
    with pytest.raises(ConfigurationError, match=r"store\.index\.refit"):
        refit_store(ContextualVectorStore(embedding), embedding, tmp_path / "new")


@pytest.mark.parametrize("llama_service", [name for name, kind in KINDS.items() if not kind.refit], indirect=True)
def test_a_store_that_cannot_be_refitted_says_so(llama_service, embedding, tmp_path, shows):
    store = llama_service.open(llama_service.name())
    with pytest.raises(ConfigurationError, match=f"a {llama_service.store_name} cannot be refitted"):
        refit_store(store, embedding, tmp_path / "new")
    shows(llama_service, "refit", "none")
