"""A server over a directory of contexts, in a thread of this process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tiny import CORPUS

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


def write_contexts(folder: Path, encoder: ContextualEncoder) -> Path:
    """Two contexts, "cats" and "birds"."""
    encoder.fit_context(CORPUS[:20]).save(folder / "cats")
    encoder.fit_context(CORPUS[20:]).save(folder / "birds")
    return folder


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
