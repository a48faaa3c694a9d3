"""Requests that cannot be answered: each gets an error in OpenAI's form that says what to do."""

import json
import socket
import threading
import time
from contextlib import suppress

import httpx
import pytest
from running_server import serving, write_contexts

GOOD = {"model": "cats:query", "input": "red cat"}
JSON = {"content-type": "application/json"}


def checked_error(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error["message"]


@pytest.fixture(scope="module")
def url(tmp_path_factory, encoder):
    """A server with small limits."""
    folder = write_contexts(tmp_path_factory.mktemp("served"), encoder)
    with serving(folder, encoder, max_texts=10, max_waiting_texts=10, max_body_bytes=1_000_000) as served:
        yield served.url


@pytest.fixture
def post(url):
    def send(content=None, headers=JSON, **request):
        body = json.dumps({**GOOD, **request}) if content is None else content
        return httpx.post(f"{url}/v1/embeddings", content=body, headers=headers, timeout=60)

    yield send
    assert send().status_code == 200, "it still serves"


@pytest.mark.parametrize(
    ("request_", "status", "code", "says"),
    [
        ({"model": "dogs:query"}, 404, "model_not_found", "birds, cats"),
        ({"model": "dogs"}, 404, "model_not_found", "birds, cats"),
        ({"model": ""}, 404, "model_not_found", "birds, cats"),
        ({"model": "cats:queries"}, 404, "model_not_found", "':query' or ':document'"),
        ({"model": "../cats:query"}, 404, "model_not_found", "birds, cats"),
        ({"model": "x" * 100_000}, 404, "model_not_found", "birds, cats"),
        ({"model": "\ud800:query"}, 404, "model_not_found", "birds, cats"),
        ({"model": "cats"}, 400, "input_type_missing", "'cats:query' or 'cats:document'"),
        ({"input_type": "document"}, 400, "input_type_conflict", "says both"),
        ({"input_type": "passage"}, 400, "invalid_request", "input_type"),
        ({"model": 7}, 400, "invalid_request", "model"),
        ({"input": None}, 400, "invalid_input", "a list of texts"),
        ({"input": {}}, 400, "invalid_input", "a list of texts"),
        ({"input": []}, 400, "invalid_input", "not empty"),
        ({"input": ""}, 400, "empty_text", "text 0 is empty"),
        ({"input": ["a", " \n"]}, 400, "empty_text", "text 1 is empty"),
        ({"input": ["a", None]}, 400, "invalid_input", "text 1 must be a string"),
        ({"input": ["a", "\ud800"]}, 400, "invalid_input", "lone surrogate"),
        ({"input": [1, 2, 3]}, 400, "token_ids", "check_embedding_ctx_length=False"),
        ({"input": [[1, 2], [3]]}, 400, "token_ids", "check_embedding_ctx_length=False"),
        ({"input": ["a"] * 11}, 400, "too_many_texts", "at most 10 texts are accepted, found 11"),
        ({"input": ["a"] * 10_000}, 400, "too_many_texts", "found 10,000"),
        ({"encoding_format": "int8"}, 400, "invalid_request", "encoding_format"),
        ({"dimensions": 16}, 400, "dimensions", "32 dimensions"),
        ({"dimensions": "32"}, 400, "invalid_request", "dimensions"),
        ({"inputs": "a"}, 400, "invalid_request", "inputs"),
        ({"x" * 500_000: "a"}, 400, "invalid_request", "not valid"),
        ({str(number): 1 for number in range(50_000)}, 400, "invalid_request", "(50,000), such as '0', '1'"),
        ({"input": [True]}, 400, "invalid_input", "text 0"),
    ],
)
def test_impossible_requests(post, request_, status, code, says):
    message = checked_error(post(**request_), status, code)
    assert says in message
    assert len(message) < 2_000


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"null", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"model": ' + b"7" * 5_000 + b"}", "invalid_json"),
        (json.dumps(GOOD).encode("utf-16"), "invalid_encoding"),
        ('{"model": "cats:query", "input": "Müller"}'.encode("latin-1"), "invalid_encoding"),
        (b"\x00\xff\xfe", "invalid_encoding"),
    ],
)
def test_bodies_that_are_not_json(post, content, code):
    checked_error(post(content), 400, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json;" + ";" * 50_000 + "charset=latin-1"},
        {b"content-type": "application/json; charset=é".encode()},
        {**JSON, "content-encoding": "gzip"},
    ],
)
def test_other_kinds_of_bodies(post, headers):
    checked_error(post(headers=headers), 415, "unsupported_media_type")


def test_large_bodies(post):
    large = json.dumps({**GOOD, "input": "a" * 50_000_000}).encode()
    assert "1,000,000 bytes" in checked_error(post(large), 413, "request_too_large")
    chunks = (large[start : start + 100_000] for start in range(0, 3_000_000, 100_000))  # of no stated length
    checked_error(post(chunks), 413, "request_too_large")


def test_utf8_in_all_its_forms_is_read(post):
    body = json.dumps({**GOOD, "input": "Müller 漢字 😀"}, ensure_ascii=False).encode()
    expected = post(body).json()["data"]
    assert post(b"\xef\xbb\xbf" + body).json()["data"] == expected
    assert post(input="Müller 漢字 😀").json()["data"] == expected
    for headers in (
        {"content-type": 'Application/JSON ; odd=1; Charset="UTF-8"'},
        {**JSON, "content-encoding": "Identity"},
    ):
        assert post(body, headers).json()["data"] == expected


def test_headers_without_end(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"x-a: b\r\n" * 500_000)
        answer = connection.recv(65_536)  # waits until its time is over if the server reads on
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), "or it has hung up before all was sent"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", "/v1/models/dogs:query", 404, "model_not_found"),
        ("POST", "/v1/embeddings/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
    ],
)
def test_other_paths(url, method, path, status, code):
    checked_error(httpx.request(method, url + path), status, code)


def test_clients_that_go(serve, encoder):
    """In the middle of the body, and before the answer: nothing waits for them."""
    slow = Slow(encoder)
    served = serve(slow)
    host, port = served.url.removeprefix("http://").split(":")
    body = json.dumps({**GOOD, "input": ["red cat"] * 500}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    for sent in (b"", body[:100]):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + sent)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        wait_for(served, "cde_waiting_texts 500.0")
    wait_for(served, "cde_waiting_texts 0.0")
    slow.gate.set()
    assert served.post(**GOOD).status_code == 200
    assert slow.sizes == [64, 1], "the rest of the request was not embedded"
    assert 'cde_requests_total{status="500"}' not in served.get("/metrics").text


def wait_for(served, line):
    end = time.monotonic() + 20
    while line not in served.get("/metrics").text:
        assert time.monotonic() < end, line
        time.sleep(0.01)


class Slow:
    """An encoder that waits before its first batch."""

    def __init__(self, encoder):
        self._encoder = encoder
        self.gate = threading.Event()
        self.sizes = []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_queries(self, texts, context, show_progress=None):
        self.gate.wait(20)
        self.sizes.append(len(texts))
        return self._encoder.encode_queries(texts, context, show_progress)
