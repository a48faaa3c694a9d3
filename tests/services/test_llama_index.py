"""LlamaIndex's stores over real servers: they find what exact search finds, and say under which context."""

from contextlib import suppress

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from served_llama_index import KINDS, Milvus, built
from servers import OVER_LLAMA_INDEX
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index import (
    ContextFitter,
    ContextualRetriever,
    check_index,
    context_filter,
    docstore_namespace,
    stamped,
)

pytestmark = OVER_LLAMA_INDEX


@pytest.fixture
def store(llama_service):
    return llama_service.open(llama_service.name())


def test_a_store_finds_what_exact_search_finds(llama_service, store, nodes, make_embedding, shows):
    embedding = make_embedding()
    stamped_nodes = stamped(nodes, embedding)
    index = built(store, nodes, embedding)
    rows = np.asarray([node.embedding for node in embedding(stamped_nodes)])
    for query in QUERIES:
        cosines = rows @ np.asarray(embedding.get_query_embedding(query))
        hits = index.as_retriever(similarity_top_k=10).retrieve(query)
        found = [cosines[int(hit.node.metadata["row"])] for hit in hits]
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:10], atol=1e-5)
    shows(llama_service, "tested on", "in process" if llama_service.running is None else llama_service.running.title)


def test_an_empty_store_states_no_context(store, make_embedding):
    assert check_index(store, make_embedding()).verdict == "index carries no context"


def test_a_store_of_another_context_is_named_and_refused(llama_service, store, nodes, make_embedding, other, shows):
    embedding, foreign = make_embedding(), make_embedding(other)
    built(store, nodes, embedding)
    assert check_index(store, embedding).verdict == "same context"
    assert check_index(store, foreign).verdict == "another context"
    index = VectorStoreIndex.from_vector_store(store, embed_model=foreign)
    with pytest.raises(ContextMismatchError, match="context"):
        ContextualRetriever(index=index, embed_model=foreign).retrieve("red cat")
    shows(llama_service, "the context is in", "its nodes")


def test_a_filter_keeps_to_the_context(llama_service, store, nodes, make_embedding, other, shows):
    embedding, foreign = make_embedding(), make_embedding(other)
    index = built(store, nodes, embedding)
    found = index.as_retriever(similarity_top_k=99, filters=context_filter(embedding)).retrieve("red cat")
    assert len(found) == len(nodes)
    with suppress(Warning):  # which LanceDB's store raises where nothing is found
        assert index.as_retriever(similarity_top_k=99, filters=context_filter(foreign)).retrieve("red cat") == []
    shows(llama_service, "filter", "`filters=`")


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


@pytest.mark.parametrize("llama_service", [name for name, kind in KINDS.items() if kind.hybrid], indirect=True)
def test_hybrid_search_finds_words_that_the_model_does_not_know(llama_service, make_embedding, other, shows):
    words = {5: "E0308", 14: "E0277", 23: "E0382", 32: "E0499", 41: "E0502", 50: "E0599"}
    texts = [f"{text} {words.get(row, '')}".strip() for row, text in enumerate(CORPUS)]
    nodes = [TextNode(text=text, metadata={"row": row}) for row, text in enumerate(texts)]
    embedding = make_embedding(texts)
    store = llama_service.open_hybrid(llama_service.name(), embedding)
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
    shows(llama_service, "hybrid by itself", llama_service.hybrid)


@pytest.mark.parametrize("llama_service", [name for name, kind in KINDS.items() if kind.server], indirect=True)
def test_a_server_that_restarts_in_the_middle_of_a_pipeline_loses_and_doubles_nothing(
    llama_service, make_embedding, monkeypatch, shows
):
    name, embedding, server = llama_service.name(), make_embedding(), llama_service.running
    store = llama_service.open(name)
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
    if isinstance(llama_service, Milvus):
        pipeline.vector_store = store = llama_service.reopened(name)
    assert len(pipeline.run(documents=sources)) == len(sources) - 20
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    found = ContextualRetriever(index=index, embed_model=embedding, similarity_top_k=200).retrieve("red cat")
    assert sorted(hit.node.metadata["row"] for hit in found) == list(range(len(sources)))
    assert pipeline.run(documents=sources) == []
    shows(llama_service, "a server that is", "restarted midway")
