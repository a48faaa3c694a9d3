"""A server of the tiny model over a directory of two contexts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("openai")

from running_server import Served, serving, write_contexts

from cde_retrievers import ContextualEncoder


@pytest.fixture(scope="session")
def encoder(model_folder) -> ContextualEncoder:
    return ContextualEncoder.from_pretrained(model_folder, device="cpu", dtype="float32")


@pytest.fixture
def folder(tmp_path, encoder) -> Path:
    return write_contexts(tmp_path / "contexts", encoder)


@pytest.fixture
def serve(folder, encoder) -> Iterator[Callable[..., Served]]:
    """`serve(max_texts=10)`: a running server with these settings."""
    with ExitStack() as running:
        yield lambda encoder=encoder, **options: running.enter_context(serving(folder, encoder, **options))


@pytest.fixture
def served(serve) -> Served:
    return serve()
