"""Servers that refuse, are slow or silent, or do not know us: calls are errors that say so, and nothing is lost."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest
from langchain_core.documents import Document
from refitted import rows_of
from relay import DENIAL, Behind, Relay, assert_every_call_raises
from served import KINDS
from servers import HOST, OVER_SERVERS, SELDOM_PINGED

from cde_retrievers.langchain import ContextualRetriever, check_index, refit_store

pytestmark = OVER_SERVERS
NEW = [Document("a kettle", metadata={"row": 60})]


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.server])
def relayed(request, tmp_path, documents, guarded):
    kind = KINDS[request.param]
    direct = kind(request.getfixturevalue(kind.server), tmp_path)
    embeddings, name = guarded(), direct.name()
    options = {**direct.options(name), "vectorstore_class": direct.store_class()}
    ContextualRetriever.from_documents(documents, embeddings=embeddings, **options)
    relay = Relay(direct.running.port)
    service = kind(Behind(relay), tmp_path)
    yield relay, service, embeddings, name
    relay.close()
    service.close()
    direct.close()


def calls_to(service, store, embeddings, path):
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    refit = [lambda: refit_store(store, embeddings, path, NEW)] if service.refit else []
    return [
        lambda: check_index(store, embeddings),
        lambda: retriever.invoke("red cat"),
        lambda: retriever.add_documents(NEW),
        lambda: ContextualRetriever(embeddings=embeddings, vectorstore=store),
        *refit,
    ]


def test_a_server_that_hangs_up_is_an_error_and_nothing_is_lost(relayed, documents, tmp_path, shows):
    relay, service, embeddings, name = relayed
    store = service.open(embeddings, name)
    calls = calls_to(service, store, embeddings, tmp_path / "new")
    relay.refuse()
    assert_every_call_raises(calls, rf"{service.lost}|disconnected")
    assert not (tmp_path / "new").exists()
    relay.refuses = False
    assert rows_of(service.reopened(embeddings, name)) == list(range(len(documents)))
    shows(service, "a server that is", "hanging up")


def test_a_slow_server_gives_what_a_quick_one_gives(relayed, documents, tmp_path, shows):
    relay, service, embeddings, name = relayed
    relay.delay = 0.02
    store = service.open(embeddings, name)
    assert check_index(store, embeddings).verdict == "same context"
    assert len(ContextualRetriever(embeddings=embeddings, vectorstore=store).invoke("red cat")) == 4
    if service.refit:
        done = refit_store(store, embeddings, tmp_path / "new", NEW)
        assert rows_of(done.store) == [*range(len(documents)), 60]
    shows(service, "a server that is", "slow")


@pytest.mark.parametrize("relayed", ["Chroma"], indirect=True)
def test_credentials_that_are_withdrawn_are_an_error(relayed, tmp_path):
    relay, service, embeddings, name = relayed
    store = service.open(embeddings, name)
    calls = calls_to(service, store, embeddings, tmp_path / "new")
    relay.refuse()
    relay.refuses, relay.answer = False, DENIAL
    assert_every_call_raises(calls, "Invalid access token|401")
    assert not (tmp_path / "new").exists()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
def test_a_wrong_key_of_qdrant_is_an_error(guarded, tmp_path):
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    relay, embeddings = Relay(None), guarded()
    relay.answer = DENIAL
    client = QdrantClient(url=f"http://{HOST}:{relay.port}", api_key="wrong", check_compatibility=False)
    store = QdrantVectorStore(client, "manual", embeddings, validate_collection_config=False)
    retrieve = lambda: ContextualRetriever(embeddings=embeddings, vectorstore=store)  # noqa: E731
    calls = [lambda: check_index(store, embeddings), retrieve, lambda: refit_store(store, embeddings, tmp_path / "new")]
    assert_every_call_raises(calls, "401")
    assert not (tmp_path / "new").exists()
    client.close()
    relay.close()


class Unauthenticated(grpc.GenericRpcHandler):
    """A server of gRPC that knows nobody."""

    def service(self, details):
        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")

        return grpc.unary_unary_rpc_method_handler(refuse)


def test_a_wrong_token_of_milvus_is_an_error(guarded):
    server = grpc.server(ThreadPoolExecutor(2), [Unauthenticated()])
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    kind = pytest.importorskip("langchain_milvus").Milvus
    with pytest.raises(Exception, match="illegal connection params"):
        ContextualRetriever.from_documents(
            NEW,
            embeddings=guarded(),
            vectorstore_class=kind,
            connection_args={"uri": f"http://{HOST}:{port}", "token": "wrong", "timeout": 5},
        )
    server.stop(None)


def never_answering_postgres(kind, port, tmp_path, embeddings):
    address = f"postgresql+psycopg://postgres:any@{HOST}:{port}/postgres?connect_timeout=2"
    return kind(SimpleNamespace(address=lambda: address), tmp_path).open(embeddings, "manual")


def never_answering_milvus(kind, port, tmp_path, embeddings):
    return kind(None, tmp_path).store_class()(
        embeddings, connection_args={"uri": f"http://{HOST}:{port}", "timeout": 1}, collection_name="manual"
    )


def never_answering_qdrant(kind, port, tmp_path, embeddings):
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(url=f"http://{HOST}:{port}", timeout=1, check_compatibility=False)
    store = QdrantVectorStore(client, "manual", embeddings, validate_collection_config=False)
    return check_index(store, embeddings)


NEVER_ANSWERING = [
    ("PGVector", never_answering_postgres, "connection timeout expired"),
    ("PGVectorStore", never_answering_postgres, "connection timeout expired"),
    ("Milvus", never_answering_milvus, "server unavailable"),
    ("Qdrant", never_answering_qdrant, "timed out"),
]


@pytest.mark.parametrize(("name", "connect", "said"), NEVER_ANSWERING, ids=[row[0] for row in NEVER_ANSWERING])
def test_a_server_that_never_answers_is_an_error_once_the_clients_limit_is_over(
    silent_port, tmp_path, guarded, name, connect, said, shows
):
    with pytest.raises(Exception, match=said):
        connect(KINDS[name], silent_port, tmp_path, guarded())
    shows(KINDS[name], "a server that is", "silent")


def limited_milvus(service, embeddings, name):
    options = service.options(name)
    options["connection_args"] = {**options["connection_args"], "timeout": 1, "grpc_options": SELDOM_PINGED}
    return service.store_class()(embeddings, timeout=1, **options)


def limited_postgres(service, embeddings, name):
    from langchain_postgres import PGEngine

    limits = {"timeout": 1, "command_timeout": 1}
    engine = PGEngine.from_connection_string(service.running.address("postgresql+asyncpg"), connect_args=limits)
    service.engines.append(engine)
    return service.store_class().create_sync(engine, embeddings, name)


@pytest.mark.parametrize(
    ("relayed", "limited", "said"),
    [("Milvus", limited_milvus, "(?i)deadline"), ("PGVectorStore", limited_postgres, "^$")],  # asyncpg's has no message
    indirect=["relayed"],
    ids=["Milvus", "PGVectorStore"],
)
def test_a_server_that_falls_silent_is_an_error_once_the_clients_limit_is_over(
    relayed, documents, tmp_path, limited, said, shows
):
    relay, service, embeddings, name = relayed
    store = limited(service, embeddings, name)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    calls = calls_to(service, store, embeddings, tmp_path / "new")[:4]
    assert len(retriever.invoke("red cat")) == 4
    relay.is_silent = True
    assert_every_call_raises(calls, said)
    relay.is_silent = False
    assert rows_of(service.reopened(embeddings, name)) == list(range(len(documents)))
    shows(service, "a server that is", "falling silent")
