"""LlamaIndex's stores over servers that refuse, are slow, silent or down: calls are errors, and nothing is lost."""

from types import SimpleNamespace

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from relay import DENIAL, Behind, Relay, assert_every_call_raises
from served_llama_index import KINDS, built, retriever_over, rows_of
from servers import HOST, OVER_LLAMA_INDEX

from cde_retrievers.llama_index import check_index, refit_store, stamped

pytestmark = OVER_LLAMA_INDEX
ON_SERVERS = pytest.mark.parametrize("llama_service", [n for n, kind in KINDS.items() if kind.server], indirect=True)
NEW = TextNode(text="a kettle", metadata={"row": 60})


@pytest.fixture
def name(llama_service, nodes, make_embedding):
    """A collection of the 54 nodes."""
    name = llama_service.name()
    built(llama_service.open(name), nodes, make_embedding())
    return name


@pytest.fixture
def relay(llama_service):
    made = Relay(llama_service.running.port)
    yield made
    made.close()


def opened_behind(relay, llama_service, name):
    return type(llama_service)(Behind(relay), llama_service.folder).open(name)


def calls_to(store, embedding, path):
    retriever = retriever_over(store, embedding)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    return [
        lambda: check_index(store, embedding),
        lambda: retriever.retrieve("red cat"),
        lambda: index.insert_nodes(stamped([NEW], embedding)),
        lambda: refit_store(store, embedding, path),
    ]


@ON_SERVERS
def test_a_server_that_hangs_up_is_an_error_and_nothing_is_lost(
    llama_service, relay, name, make_embedding, tmp_path, shows
):
    embedding = make_embedding()
    calls = calls_to(opened_behind(relay, llama_service, name), embedding, tmp_path / "new")
    relay.refuse()
    assert_every_call_raises(calls, rf"{llama_service.lost}|disconnected")
    assert not (tmp_path / "new").exists()
    assert rows_of(llama_service.open(name), embedding) == list(range(54))
    shows(llama_service, "a server that is", "hanging up")


@ON_SERVERS
def test_a_server_that_is_down_is_an_error_and_nothing_is_lost(llama_service, name, make_embedding, tmp_path, shows):
    embedding = make_embedding()
    calls = calls_to(llama_service.open(name), embedding, tmp_path / "new")
    llama_service.running.stop()
    try:
        assert_every_call_raises(calls, llama_service.lost)
    finally:
        llama_service.running.start()
    assert not (tmp_path / "new").exists()
    assert rows_of(llama_service.reopened(name), embedding) == list(range(54))
    shows(llama_service, "a server that is", "down")


@ON_SERVERS
def test_a_slow_server_gives_what_a_quick_one_gives(llama_service, relay, name, make_embedding, tmp_path, shows):
    embedding, relay.delay = make_embedding(), 0.02
    store = opened_behind(relay, llama_service, name)
    assert check_index(store, embedding).verdict == "same context"
    assert len(retriever_over(store, embedding).retrieve("red cat")) == 4
    done = refit_store(store, embedding, tmp_path / "new", [NEW])
    assert rows_of(done.store, done.embeddings) == [*range(54), 60]
    shows(llama_service, "a server that is", "slow")


SILENT = [("Milvus", "server unavailable"), ("Postgres", "timeout expired"), ("Qdrant", "timed out")]


@pytest.mark.parametrize(("llama_service", "said"), SILENT, indirect=["llama_service"], ids=[row[0] for row in SILENT])
def test_a_server_that_never_answers_is_an_error_once_the_clients_limit_is_over(
    llama_service, silent_port, make_embedding, said, shows
):
    llama_service.running = SimpleNamespace(port=silent_port)
    with pytest.raises(Exception, match=said):
        check_index(llama_service.open_limited(llama_service.name()), make_embedding())
    shows(llama_service, "a server that is", "silent")


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
def test_a_wrong_key_of_qdrant_is_an_error():
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    client_class = pytest.importorskip("qdrant_client").QdrantClient
    relay = Relay(None)
    relay.answer = DENIAL
    client = client_class(url=f"http://{HOST}:{relay.port}", api_key="wrong", check_compatibility=False)
    with pytest.raises(Exception, match="401"):
        module.QdrantVectorStore(client=client, collection_name="manual")
    client.close()
    relay.close()
