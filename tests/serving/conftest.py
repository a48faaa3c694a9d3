"""A server of the tiny model over a directory of two contexts, in this process, and clients of it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import CORPUS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("openai")

import httpx

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.serving.application import create_application
from cde_retrievers.serving.contexts import ContextDirectory
from cde_retrievers.serving.server import make_server
from cde_retrievers.serving.settings import ServingSettings


@dataclass
class Served:
    """A running server, and what it serves."""

    url: str
    folder: Path
    encoder: ContextualEncoder

    def post(self, **request: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/embeddings", json=request, timeout=60)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def context(self, alias: str) -> CorpusContext:
        return CorpusContext.load(self.folder / alias)


@pytest.fixture(scope="session")
def encoder(model_folder) -> ContextualEncoder:
    return ContextualEncoder.from_pretrained(model_folder, device="cpu", dtype="float32")


@pytest.fixture
def folder(tmp_path, encoder) -> Path:
    encoder.fit_context(CORPUS[:20]).save(tmp_path / "contexts" / "cats")
    encoder.fit_context(CORPUS[20:]).save(tmp_path / "contexts" / "birds")
    return tmp_path / "contexts"


@contextmanager
def serving(folder: Path, encoder: object, token: str | None = None, **settings: int) -> Iterator[Served]:
    contexts = ContextDirectory(folder, encoder.check_context)
    server = make_server(create_application(encoder, contexts, ServingSettings(**settings), token))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", folder, encoder)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def serve(folder, encoder) -> Iterator[Callable[..., Served]]:
    """`serve(max_texts=10)`: a running server with these settings."""
    with ExitStack() as running:
        yield lambda encoder=encoder, **options: running.enter_context(serving(folder, encoder, **options))


@pytest.fixture
def served(serve) -> Served:
    return serve()
