"""Many clients at once, the bounds, the token, and what is measured."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.serving.application import create_application
from cde_retrievers.serving.contexts import ContextDirectory
from cde_retrievers.serving.server import TOKEN_VARIABLE, listening_socket, read_token
from cde_retrievers.serving.settings import ServingSettings

GOOD = {"model": "cats:query", "input": "red cat"}
TOKEN = "a-token-of-a-test"


def test_sixty_four_clients_get_their_own_vectors(serve, encoder):
    served = serve(batch_texts=16)
    encode = {"query": encoder.encode_queries, "document": encoder.encode_documents}
    expected = {
        (alias, role): encode[role](CORPUS, served.context(alias))
        for alias in ("cats", "birds")
        for role in ("query", "document")
    }

    def client(number):
        random = np.random.default_rng(number)
        with httpx.Client(base_url=served.url, timeout=60) as http:
            for _ in range(4):
                alias, role = random.choice(["cats", "birds"]), random.choice(["query", "document"])
                chosen = random.choice(len(CORPUS), size=random.integers(1, 18), replace=False)
                request = {"model": f"{alias}:{role}", "input": [CORPUS[i] for i in chosen]}
                answer = http.post("/v1/embeddings", json=request)
                assert answer.status_code == 200, answer.text
                found = np.array([item["embedding"] for item in answer.json()["data"]])
                np.testing.assert_allclose(found, expected[alias, role][chosen], atol=1e-5)

    with ThreadPoolExecutor(64) as clients:
        list(clients.map(client, range(64)))
    page = served.get("/metrics").text
    assert 'cde_requests_total{status="200"} 256.0' in page
    assert "cde_waiting_texts 0.0" in page


class Held:
    """An encoder that says when it begins, and waits."""

    def __init__(self, encoder):
        self._encoder = encoder
        self.began, self.gate = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_queries(self, texts, context, show_progress=None):
        self.began.set()
        assert self.gate.wait(20)
        return self._encoder.encode_queries(texts, context, show_progress)


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_texts": 2, "max_waiting_texts": 2}, "queue_full"), ({"max_requests": 1}, "too_many_requests")],
)
def test_a_server_that_is_full_says_so_at_once(serve, encoder, limits, code):
    held = Held(encoder)
    served = serve(held, **limits)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(served.post, model="cats:query", input=["a", "b"])
        assert held.began.wait(20)
        refused = served.post(**GOOD)
        held.gate.set()
        assert first.result().status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, code)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["retry-after"] == "1"
    assert served.post(**GOOD).status_code == 200


def test_a_request_that_finds_no_room_costs_nothing(serve, encoder):
    counted = []

    class Counting(Held):
        @property
        def tokenizer(self):
            counted.append(1)
            return encoder.tokenizer

    held = Counting(encoder)
    served = serve(held, max_texts=2, max_waiting_texts=2)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(served.post, model="cats:query", input=["a", "b"])
        assert held.began.wait(20)
        assert served.post(**GOOD).status_code == 429
        held.gate.set()
        assert first.result().status_code == 200
    assert len(counted) == 1


def test_a_fault_of_the_model_is_an_error_of_the_server(serve, encoder):
    class Failing:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def encode_queries(self, texts, context, show_progress=None):
            raise MemoryError("of a test, in /a/path")

    served = serve(Failing())
    answer = served.post(**GOOD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "/a/path" not in answer.text
    assert 'cde_requests_total{status="500"} 1.0' in served.get("/metrics").text
    assert served.post(model="cats:document", input="red cat").status_code == 200
    assert served.get("/health").json() == {"status": "ok"}


def test_texts_that_the_model_cannot_read_whole_are_counted(served):
    answer = served.post(model="cats:document", input=["red cat", "cat " * 500])
    assert answer.headers["x-cde-cut-texts"] == "1"
    assert answer.json()["usage"]["prompt_tokens"] < 2 * served.encoder.config.max_length
    assert "x-cde-cut-texts" not in served.post(**GOOD).headers
    page = served.get("/metrics").text
    assert "cde_texts_cut_total 1.0" in page
    assert 'cde_texts_total{input_type="document"} 2.0' in page
    assert 'cde_texts_total{input_type="query"} 1.0' in page


def test_metrics_of_refusals(served):
    served.post(model="dogs", input="x")
    answer = served.get("/metrics")
    assert 'cde_requests_total{status="404"} 1.0' in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_a_slow_body_is_given_up(serve):
    served = serve(read_seconds=1)
    host, port = served.url.removeprefix("http://").split(":")
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65_536).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert json.loads(answer.split("\r\n\r\n")[1])["error"]["code"] == "request_timeout"


# The token


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_requests_without_the_token(serve, sent):
    served = serve(token=TOKEN)
    headers = {} if sent is None else {b"authorization": sent.encode()}
    for method, path in (("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/nothing")):
        answer = httpx.request(method, served.url + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx.get(served.url + "/health", headers=headers).status_code == 200


def test_requests_with_the_token(serve):
    from openai import OpenAI

    served = serve(token=TOKEN)
    with OpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as client:
        assert len(client.embeddings.create(model="cats:query", input=QUERIES).data) == len(QUERIES)
    assert httpx.get(f"{served.url}/v1/models", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_where_the_token_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "from-the-environment")
    assert read_token(None) == "from-the-environment"
    (tmp_path / "token").write_text("from-the-file\n")
    assert read_token(tmp_path / "token") == "from-the-file"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", "ü".encode(), b"\xff", None])
def test_tokens_that_no_client_could_send(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="the token in"):
        read_token(path)


def test_an_empty_variable_is_not_no_token(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    with pytest.raises(ConfigurationError, match=TOKEN_VARIABLE):
        read_token(None)


# The address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "", "localhost.example.org"])
def test_others_can_reach_it_with_a_token_only(host):
    with pytest.raises(ConfigurationError, match="there is no token"):
        listening_socket(host, 0, None)


def test_an_address_in_use_or_of_another_machine():
    with (
        listening_socket("127.0.0.1", 0, None) as taken,
        pytest.raises(ConfigurationError, match="cannot be served"),
    ):
        listening_socket("127.0.0.1", taken.getsockname()[1], None)
    with pytest.raises(ConfigurationError, match="cannot be served"):
        listening_socket("192.0.2.1", 0, TOKEN)
    listening_socket("localhost", 0, None).close()


@pytest.mark.parametrize("setting", list(ServingSettings.__dataclass_fields__))
@pytest.mark.parametrize("value", [0, -1, 1.5, "7", None, True])
def test_impossible_settings(setting, value):
    with pytest.raises(ConfigurationError, match=setting):
        ServingSettings(**{setting: value})


def test_a_request_must_fit_into_the_queue():
    with pytest.raises(ConfigurationError, match="at least max_texts"):
        ServingSettings(max_texts=100, max_waiting_texts=99)


def test_an_application_is_started_again(folder, encoder):
    contexts = ContextDirectory(folder, encoder.check_context)
    application = create_application(encoder, contexts, ServingSettings())
    for _ in range(2):
        with TestClient(application) as client:
            assert client.post("/v1/embeddings", json=GOOD).status_code == 200
            assert "cde_waiting_texts 0.0" in client.get("/metrics").text
