"""`refit_store` over LlamaIndex's stores, with Chroma's in a real server."""

from itertools import count
from uuid import UUID

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from refitted import Killed, kill_changes_at
from servers import HOST, OVER_LLAMA_INDEX, PASSWORD, SELDOM_PINGED
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
from cde_retrievers.stores.chroma import ChromaCollection
from cde_retrievers.stores.milvus import MilvusCollection
from cde_retrievers.stores.postgres import PostgresTable
from cde_retrievers.stores.qdrant import QdrantCollection

pytestmark = OVER_LLAMA_INDEX


def node(number, text):
    metadata = {"row": number, "title": f"title {number % 3}"}
    return TextNode(id_=str(UUID(int=number)), text=text, metadata=metadata, excluded_embed_metadata_keys=["row"])


NODES = [node(number, text) for number, text in enumerate(CORPUS)]
NEW = [node(100 + number, f"grinder {number} has {number} burrs of steel") for number in range(9)]


class Chroma:
    collection = ChromaCollection

    def __init__(self, request, folder):
        self.kind = pytest.importorskip("llama_index.vector_stores.chroma").ChromaVectorStore
        server = request.getfixturevalue("chroma")
        self.client = pytest.importorskip("chromadb").HttpClient(host=HOST, port=server.port)

    def new(self, name):
        return self.kind(chroma_collection=self.client.create_collection(name, metadata={"hnsw:space": "cosine"}))

    def open(self, name):
        return self.kind(chroma_collection=self.client.get_or_create_collection(name))


class Qdrant:
    collection = QdrantCollection

    def __init__(self, request, folder):
        self.kind = pytest.importorskip("llama_index.vector_stores.qdrant").QdrantVectorStore
        self.client = pytest.importorskip("qdrant_client").QdrantClient(path=str(folder / "qdrant"))
        request.addfinalizer(self.client.close)

    def new(self, name):
        from qdrant_client import models

        vectors = {"text-dense": models.VectorParams(size=32, distance=models.Distance.COSINE)}
        self.client.create_collection(f"first_{name}", vectors_config=vectors)
        made = models.CreateAlias(collection_name=f"first_{name}", alias_name=name)
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=made)])
        return self.open(name)

    def open(self, name):
        return self.kind(client=self.client, collection_name=name)


class Milvus:
    collection = MilvusCollection

    def __init__(self, request, folder):
        self.kind = pytest.importorskip("llama_index.vector_stores.milvus").MilvusVectorStore
        self.address = f"http://{HOST}:{request.getfixturevalue('milvus').port}"

    def open(self, name):
        options = {"similarity_metric": "COSINE", "consistency_level": "Strong", "use_async_client": False}
        return self.kind(uri=self.address, collection_name=name, dim=32, grpc_options=SELDOM_PINGED, **options)

    new = open


class Postgres:
    collection = PostgresTable

    def __init__(self, request, folder):
        self.kind = pytest.importorskip("llama_index.vector_stores.postgres").PGVectorStore
        self.server = request.getfixturevalue("postgres")

    def open(self, name, **options):
        place = {"host": HOST, "port": str(self.server.port), "database": "postgres", "user": "postgres"}
        given = {"password": PASSWORD, "table_name": name.removeprefix("data_"), "embed_dim": 32, **options}
        return self.kind.from_params(**place, **given)

    new = open


@pytest.fixture(params=[Chroma, Milvus, Postgres, Qdrant])
def service(request, tmp_path):
    return request.param(request, tmp_path)


@pytest.fixture
def name(tmp_path):
    return f"li{abs(hash(tmp_path))}"


@pytest.fixture
def embedding(encoder):
    """An embedding under a context of fewer nodes than there are now."""
    return ContextualEmbedding(encoder=encoder).fit(CORPUS[:40])


def rows_of(store, embedding):
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    return sorted(int(hit.node.metadata["row"]) for hit in index.as_retriever(similarity_top_k=200).retrieve("red cat"))


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


@pytest.mark.parametrize("is_stamped", [True, False])
def test_a_served_store_moves_to_a_new_context(service, name, embedding, tmp_path, is_stamped):
    store = service.new(name)
    store.add(embedding(stamped(NODES, embedding) if is_stamped else [each.model_copy() for each in NODES]))
    reader = ContextualRetriever(
        VectorStoreIndex.from_vector_store(service.open(name), embed_model=embedding), embedding
    )
    assert len(reader.retrieve("red cat")) == 4
    done = refit_store(service.open(name), embedding, tmp_path / "new", NEW, batch_size=20)
    assert (done.documents, done.embedded) == (len(NODES) + len(NEW),) * 2
    assert_embedded_under(done, [*NODES, *NEW])
    again = ContextualEmbedding(encoder=embedding.embedder, context_path=tmp_path / "new")
    assert check_index(service.open(name), again).verdict == "same context"
    assert rows_of(service.open(name), again) == [*range(len(NODES)), *range(100, 109)]
    assert rows_of(service.open(done.old_collection), embedding) == list(range(len(NODES)))
    index = VectorStoreIndex.from_vector_store(service.open(name), embed_model=embedding)
    with pytest.raises(ContextMismatchError, match="embedded under"):
        ContextualRetriever(index, embedding).retrieve("red cat")
    if not isinstance(service, Chroma):  # whose readers stay with the old collection
        with pytest.raises(ContextMismatchError, match="embedded under"):
            reader.retrieve("red cat")
    more = [node(200 + number, f"kettle {number}") for number in range(40)]
    second = refit_store(service.open(name), again, tmp_path / "second", more)
    assert second.documents == second.embedded == done.documents + len(more)
    done.drop_old()
    second.drop_old()
    assert_embedded_under(second, [*NODES, *NEW, *more])


def test_a_refit_that_is_killed_at_any_moment_is_continued(service, name, embedding, tmp_path):
    for step in count(1):
        path, served = tmp_path / f"context {step}", f"{name}_{step}"
        service.new(served).add(embedding(stamped(NODES, embedding)))
        with pytest.MonkeyPatch.context() as patch:
            kill_changes_at(patch, [(service.collection, None), (service.kind, "add")], step)
            try:
                refit_store(service.open(served), embedding, path, NEW, batch_size=40)
            except Killed:
                pass
            else:
                break
        done = refit_store(service.open(served), embedding, path, NEW, batch_size=40)
        assert done.documents == len(NODES) + len(NEW)
        assert rows_of(done.store, done.embeddings) == [*range(len(NODES)), *range(100, 109)]
        assert rows_of(service.open(done.old_collection), embedding) == list(range(len(NODES)))
        assert_embedded_under(done, [*NODES, *NEW])
    assert step > 8


def test_entries_that_are_not_nodes_are_an_error(service, name, embedding, tmp_path):
    store = service.new(name)
    store.add(embedding(stamped(NODES, embedding)))
    vector = embedding.get_query_embedding("cat")
    if isinstance(service, Chroma):
        store._collection.add("other", [vector], [{"row": 7}], ["other"])
    elif isinstance(service, Milvus):
        store.client.insert(name, {"id": "other", "doc_id": "other", "embedding": vector, "text": "other", "row": 7})
    elif isinstance(service, Postgres):
        with store._session() as session, session.begin():
            session.add(store._table_class(node_id="other", text="other", embedding=vector, metadata_={"row": 7}))
    else:
        from qdrant_client import models

        service.client.upsert(name, [models.PointStruct(id=7, vector={"text-dense": vector}, payload={"row": 7})])
    with pytest.raises(InvalidTextError, match="has no text"):
        refit_store(service.open(name), embedding, tmp_path / "new")


def test_index_and_sequence_of_postgres_stay_with_the_name(postgres, request, name, embedding, tmp_path):
    service, hnsw = Postgres(request, tmp_path), {"hnsw_m": 8, "hnsw_ef_construction": 32, "hnsw_ef_search": 200}
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


def test_a_table_of_postgres_with_nodes_of_the_same_id_is_not_refitted(postgres, request, name, embedding, tmp_path):
    store = Postgres(request, tmp_path).open(name)
    for _ in range(2):
        store.add(embedding(stamped(NODES[:3], embedding, reembed=True)))
    with pytest.raises(ConfigurationError, match="3 of its rows have the node_id of another one"):
        refit_store(store, embedding, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_wrong_password_of_postgres_is_an_error(postgres, request, name, embedding, tmp_path):
    store = Postgres(request, tmp_path).open(name, password="wrong")
    for call in (check_index, lambda *given: refit_store(*given, tmp_path / "new")):
        with pytest.raises(Exception, match="password authentication failed"):
            call(store, embedding)
    assert not (tmp_path / "new").exists()


def test_other_stores_are_named(embedding, tmp_path):
    known = "ChromaVectorStore, MilvusVectorStore, PGVectorStore, QdrantVectorStore"
    with pytest.raises(ConfigurationError, match=f"a SimpleVectorStore cannot be refitted; refitted are {known}"):
        refit_store(SimpleVectorStore(), embedding, tmp_path / "new")
    lancedb = pytest.importorskip("llama_index.vector_stores.lancedb").LanceDBVectorStore(str(tmp_path / "lancedb"))
    with pytest.raises(ConfigurationError, match="a LanceDBVectorStore cannot be refitted"):
        refit_store(lancedb, embedding, tmp_path / "new")
    with pytest.raises(ConfigurationError, match=r"store\.index\.refit"):
        refit_store(ContextualVectorStore(embedding), embedding, tmp_path / "new")
