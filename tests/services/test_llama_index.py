"""LlamaIndex's stores over real servers: they find what exact search finds, and say under which context."""

import time
from contextlib import suppress

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from servers import HOST, OVER_LLAMA_INDEX, PASSWORD, SELDOM_PINGED
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index import (
    ContextFitter,
    ContextualEmbedding,
    ContextualRetriever,
    ContextualSparseEmbedding,
    check_index,
    context_filter,
    docstore_namespace,
    stamped,
)

pytestmark = OVER_LLAMA_INDEX


def chroma_store(request, tmp_path):
    module = pytest.importorskip("llama_index.vector_stores.chroma")
    server = request.getfixturevalue("chroma")
    client = pytest.importorskip("chromadb").HttpClient(host=HOST, port=server.port)
    name = f"li{abs(hash(tmp_path))}"
    made = client.create_collection(name, metadata={"hnsw:space": "cosine"})
    return module.ChromaVectorStore(chroma_collection=made)


def lancedb_store(request, tmp_path):
    module = pytest.importorskip("llama_index.vector_stores.lancedb")
    return module.LanceDBVectorStore(uri=str(tmp_path / "lancedb"))


def qdrant_store(request, tmp_path):
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    client = pytest.importorskip("qdrant_client").QdrantClient(path=str(tmp_path / "qdrant"))
    request.addfinalizer(client.close)
    return module.QdrantVectorStore(client=client, collection_name="nodes")


def hybrid_qdrant_store(request, tmp_path, embedding):
    module, sparse = pytest.importorskip("llama_index.vector_stores.qdrant"), ContextualSparseEmbedding(embedding)
    client = pytest.importorskip("qdrant_client").QdrantClient(path=str(tmp_path / "qdrant"))
    request.addfinalizer(client.close)
    own = {"sparse_doc_fn": sparse.encode_documents, "sparse_query_fn": sparse.encode_queries}
    return module.QdrantVectorStore(client=client, collection_name="nodes", enable_hybrid=True, **own)


def milvus_store(request, tmp_path):
    module = pytest.importorskip("llama_index.vector_stores.milvus")
    address = f"http://{HOST}:{request.getfixturevalue('milvus').port}"
    options = {"dim": 32, "overwrite": False, "similarity_metric": "COSINE", "consistency_level": "Strong"}
    options["grpc_options"] = SELDOM_PINGED
    return module.MilvusVectorStore(uri=address, collection_name=f"li{abs(hash(tmp_path))}", **options)


def postgres_store(request, tmp_path, **options):
    module = pytest.importorskip("llama_index.vector_stores.postgres")
    server = request.getfixturevalue("postgres")
    place = {"host": HOST, "port": str(server.port), "database": "postgres", "user": "postgres", "password": PASSWORD}
    return module.PGVectorStore.from_params(**place, table_name=f"li{abs(hash(tmp_path))}", embed_dim=32, **options)


STORES = {
    "Chroma": chroma_store,
    "LanceDB": lancedb_store,
    "Milvus": milvus_store,
    "Postgres": postgres_store,
    "Qdrant": qdrant_store,
}


@pytest.fixture(params=list(STORES))
def store(request, tmp_path):
    return STORES[request.param](request, tmp_path)


@pytest.fixture
def make_embedding(encoder):
    return lambda texts=CORPUS: ContextualEmbedding(encoder=encoder).fit(texts)


@pytest.fixture
def nodes():
    return [TextNode(text=text, metadata={"row": row}) for row, text in enumerate(CORPUS)]


def built(store, nodes, embedding):
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(stamped(nodes, embedding), storage_context=storage, embed_model=embedding)


def texts_of(hits):
    return [hit.node.get_content() for hit in hits]


def test_a_store_finds_what_exact_search_finds(store, nodes, make_embedding):
    embedding = make_embedding()
    stamped_nodes = stamped(nodes, embedding)
    index = built(store, nodes, embedding)
    rows = np.asarray([node.embedding for node in embedding(stamped_nodes)])
    for query in QUERIES:
        cosines = rows @ np.asarray(embedding.get_query_embedding(query))
        hits = index.as_retriever(similarity_top_k=10).retrieve(query)
        found = [cosines[int(hit.node.metadata["row"])] for hit in hits]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)


def test_an_empty_store_states_no_context(store, make_embedding):
    assert check_index(store, make_embedding()).verdict == "index carries no context"


def test_a_store_of_another_context_is_named_and_refused(store, nodes, make_embedding, other):
    embedding, foreign = make_embedding(), make_embedding(other)
    built(store, nodes, embedding)
    assert check_index(store, embedding).verdict == "same context"
    assert check_index(store, foreign).verdict == "another context"
    index = VectorStoreIndex.from_vector_store(store, embed_model=foreign)
    with pytest.raises(ContextMismatchError, match="context"):
        ContextualRetriever(index=index, embed_model=foreign).retrieve("red cat")


def test_a_filter_keeps_to_the_context(store, nodes, make_embedding, other):
    embedding, foreign = make_embedding(), make_embedding(other)
    index = built(store, nodes, embedding)
    found = index.as_retriever(similarity_top_k=99, filters=context_filter(embedding)).retrieve("red cat")
    assert len(found) == len(nodes)
    with suppress(Warning):  # which LanceDB's store raises where nothing is found
        assert index.as_retriever(similarity_top_k=99, filters=context_filter(foreign)).retrieve("red cat") == []


def test_one_foreign_node_among_301_is_found(store, make_embedding, other):
    embedding, foreign = make_embedding(), make_embedding(other)
    alike = [TextNode(text="red cat", metadata={"row": row}) for row in range(300)]
    built(store, alike, embedding)
    assert check_index(store, embedding).verdict == "same context"
    store.add(foreign(stamped([TextNode(text="map file how", metadata={"row": 300})], foreign)))
    check = check_index(store, embedding)
    assert (check.verdict, check.theirs) == ("another context", foreign.context_fingerprint)


async def test_a_retriever_returns_nothing_where_nothing_is_found(store, nodes, make_embedding):
    embedding = make_embedding()
    index = built(store, nodes, embedding)
    retriever = ContextualRetriever(index=index, embed_model=embedding)
    assert len(retriever.retrieve("red cat")) == 4
    if hasattr(store, "table"):
        store.table.delete("true")  # LanceDB's store quotes ids so that it finds none
    else:
        store.delete_nodes([node.node_id for node in nodes])
    assert retriever.retrieve("red cat") == []
    if not isinstance(store, pytest.importorskip("llama_index.vector_stores.qdrant").QdrantVectorStore):
        assert await retriever.aretrieve("red cat") == []  # Qdrant's needs a second client for that
    if hasattr(store, "close"):  # Postgres' has connections of this event loop
        await store.close()


HYBRID = {
    "Postgres": lambda request, tmp_path, embedding: postgres_store(request, tmp_path, hybrid_search=True),
    "Qdrant": hybrid_qdrant_store,
}


@pytest.mark.parametrize("kind", HYBRID)
def test_hybrid_search_finds_words_that_the_model_does_not_know(request, tmp_path, make_embedding, other, kind):
    words = {5: "E0308", 14: "E0277", 23: "E0382", 32: "E0499", 41: "E0502", 50: "E0599"}
    texts = [f"{text} {words.get(row, '')}".strip() for row, text in enumerate(CORPUS)]
    nodes = [TextNode(text=text, metadata={"row": row}) for row, text in enumerate(texts)]
    embedding = make_embedding(texts)
    store = HYBRID[kind](request, tmp_path, embedding)
    index = built(store, nodes, embedding)

    def found(mode):
        retriever = ContextualRetriever(index, embedding, 2, vector_store_query_mode=mode)
        hits = {row: retriever.retrieve(word) for row, word in words.items()}
        return {row for row in words if row in {int(hit.node.metadata["row"]) for hit in hits[row]}}

    assert found("hybrid") == set(words)
    assert len(found("default")) <= 2  # the model cannot tell one word from another
    foreign = make_embedding(other)
    retriever = ContextualRetriever(
        VectorStoreIndex.from_vector_store(store, embed_model=foreign), foreign, vector_store_query_mode="hybrid"
    )
    with pytest.raises(ContextMismatchError, match="embedded under"):
        retriever.retrieve("E0308")


def connected_again(connect):
    """A new client: gRPC waits before it tries an address again that refused it, for the whole process."""
    for _ in range(60):
        try:
            return connect()
        except Exception as error:
            if "Fail connecting" not in str(error):
                raise
            time.sleep(1)
    raise TimeoutError("the server was not reached within a minute")


@pytest.mark.parametrize("kind", ["Chroma", "Milvus", "Postgres"])
def test_a_server_that_restarts_in_the_middle_of_a_pipeline_loses_and_doubles_nothing(
    request, tmp_path, make_embedding, monkeypatch, kind
):
    store, embedding, server = STORES[kind](request, tmp_path), make_embedding(), request.getfixturevalue(kind.lower())
    sources = [Document(text=text, id_=f"{row}.md", metadata={"row": row}) for row, text in enumerate(CORPUS)]
    pipeline = IngestionPipeline(
        transformations=[ContextFitter(embed_model=embedding), embedding],
        docstore=SimpleDocumentStore(namespace=docstore_namespace(embedding)),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        vector_store=store,
    )
    pipeline.run(documents=sources[:20])
    embed = type(embedding).__call__

    def embed_while_the_server_stops(self, nodes, **options):
        server.stop()
        return embed(self, nodes, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(embedding), "__call__", embed_while_the_server_stops)
        try:
            with pytest.raises(Exception, match=r"(?i)connect"):
                pipeline.run(documents=sources)
        finally:
            server.start()
    if kind == "Milvus":
        pipeline.vector_store = store = connected_again(lambda: milvus_store(request, tmp_path))
        store.client.load_collection(store.collection_name)  # Milvus Lite forgets that it was
    assert len(pipeline.run(documents=sources)) == len(sources) - 20
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    found = ContextualRetriever(index=index, embed_model=embedding, similarity_top_k=200).retrieve("red cat")
    assert sorted(hit.node.metadata["row"] for hit in found) == list(range(len(sources)))
    assert pipeline.run(documents=sources) == []
