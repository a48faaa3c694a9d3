"""Plain stores of LlamaIndex under another context or model than they were filled with."""

import logging

import pytest
from bag_of_words import BagOfWords
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from served_llama_index import KINDS, built, retriever_over, rows_of
from servers import OVER_LLAMA_INDEX
from tiny import CORPUS

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index import ContextualEmbedding, check_index, refit_store, stamped

pytestmark = OVER_LLAMA_INDEX
# Qdrant's asynchronous client is another one, which this machine's folder cannot have besides.
BY_ASYNCHRONOUS_CALLS = pytest.mark.parametrize("llama_service", sorted(KINDS.keys() - {"Qdrant"}), indirect=True)


@pytest.fixture
def store(llama_service):
    return llama_service.open(llama_service.name())


async def closed(store):
    """Close what belongs to this event loop, as Postgres' connections do."""
    if hasattr(store, "close"):
        await store.close()


def unstamped(nodes, embedding):
    """Copies of nodes that are embedded, and say nothing of it."""
    return list(embedding([node.model_copy(deep=True) for node in nodes]))


def hit_rate(store, embedding, nodes):
    """The share of every sixth node that LlamaIndex's own retriever finds first when it is asked for its own text."""
    index, asked = VectorStoreIndex.from_vector_store(store, embed_model=embedding), nodes[::6]
    found = [index.as_retriever(similarity_top_k=1).retrieve(node.get_content()) for node in asked]
    pairs = zip(found, asked, strict=True)
    return sum(hits[0].node.get_content() == node.get_content() for hits, node in pairs) / len(asked)


def test_unguarded_a_store_that_is_queried_under_another_context_finds_the_wrong_nodes(
    store, nodes, make_embedding, other, caplog
):
    embedding, foreign = make_embedding(), make_embedding(other)
    store.add(unstamped(nodes, embedding))
    assert hit_rate(store, embedding, nodes) == 1
    assert hit_rate(store, foreign, nodes) < 0.3
    retriever = retriever_over(store, foreign)
    with caplog.at_level(logging.WARNING, logger="cde_retrievers"):
        for _ in range(2):
            assert len(retriever.retrieve("red cat")) == 4
    said = [record.getMessage() for record in caplog.records if "carry no context" in record.getMessage()]
    assert len(said) == 1


def test_hits_of_another_context_are_refused(store, nodes, make_embedding, other):
    foreign = make_embedding(other)
    built(store, nodes, make_embedding())
    with pytest.raises(ContextMismatchError, match="embedded under"):
        retriever_over(store, foreign).retrieve("red cat")


@BY_ASYNCHRONOUS_CALLS
async def test_hits_of_asynchronous_calls_are_refused_too(store, nodes, make_embedding, other):
    foreign = make_embedding(other)
    built(store, nodes, make_embedding())
    with pytest.raises(ContextMismatchError, match="embedded under"):
        await retriever_over(store, foreign).aretrieve("red cat")
    await closed(store)


def test_one_hit_of_another_context_among_others_is_refused(store, nodes, make_embedding, other):
    embedding, foreign = make_embedding(), make_embedding(other)
    built(store, nodes, embedding)
    store.add(foreign(stamped([TextNode(text="map file how", metadata={"row": 99})], foreign)))
    assert rows_of(store, embedding) == [*range(54), 99]
    with pytest.raises(ContextMismatchError, match="embedded under"):
        retriever_over(store, embedding, similarity_top_k=55).retrieve("red cat")


@pytest.mark.parametrize("is_stamped", [True, False])
def test_a_store_of_another_width_is_named_and_nothing_is_lost(
    llama_service, nodes, make_embedding, tmp_path, is_stamped, shows
):
    embedding, narrow = make_embedding(), ContextualEmbedding(encoder=BagOfWords(8)).fit(CORPUS)
    name = llama_service.name()
    llama_service.open(name).add(embedding(stamped(nodes, embedding)) if is_stamped else unstamped(nodes, embedding))
    store = llama_service.open(name)
    calls = [lambda: check_index(store, narrow), lambda: retriever_over(store, narrow).retrieve("red cat")]
    for call in calls:
        with pytest.raises(
            ContextMismatchError, match=rf"{llama_service.store_name} does not hold vectors of 8 numbers"
        ):
            call()
    if llama_service.refit:
        with pytest.raises(ContextMismatchError, match="does not hold vectors of 8 numbers"):
            refit_store(store, narrow, tmp_path / "new", switch=False)
    index = VectorStoreIndex.from_vector_store(store, embed_model=narrow)
    with pytest.raises(Exception, match=r"(?i)dim|length|schema"):  # the client's own error
        index.insert_nodes(stamped([TextNode(text="a kettle", metadata={"row": 60})], narrow))
    assert not (tmp_path / "new").exists()
    assert rows_of(llama_service.open(name), embedding) == list(range(54))
    shows(llama_service, "vectors of another width", "an error")


@BY_ASYNCHRONOUS_CALLS
async def test_a_store_of_another_width_is_named_by_asynchronous_calls_too(store, nodes, make_embedding):
    built(store, nodes, make_embedding())
    narrow = ContextualEmbedding(encoder=BagOfWords(8)).fit(CORPUS)
    with pytest.raises(ContextMismatchError, match="does not hold vectors of 8 numbers"):
        await retriever_over(store, narrow).aretrieve("red cat")
    await closed(store)
