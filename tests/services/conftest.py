"""Servers, and the stores of LangChain over them."""

import gc
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from served import KINDS, UnguardedEmbeddings
from served_llama_index import KINDS as LLAMA_INDEX_KINDS
from servers import HOST, ChromaServer, MilvusServer, PostgresServer
from store_table import pytest_addoption, pytest_configure, shows  # noqa: F401 - hooks and a fixture
from tiny import CORPUS

from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.llama_index import ContextualEmbedding

OTHER = [f"{first} {second}" for first in ("map", "key", "list", "value") for second in ("file", "how", "do", "i")]


@contextmanager
def running(kind):
    folder = Path(tempfile.mkdtemp(prefix="cde-services-"))
    server = None
    try:
        server = kind(folder)
        yield server.start()
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres():
    with running(PostgresServer) as server:
        yield server


@pytest.fixture(scope="session")
def chroma():
    with running(ChromaServer) as server:
        yield server


@pytest.fixture(scope="session")
def milvus():
    with running(MilvusServer) as server:
        yield server


@pytest.fixture
def silent_port():
    """A port that takes connections, and never answers."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture(params=list(KINDS))
def service(request, tmp_path):
    """Each store of LangChain, over its running server."""
    kind = KINDS[request.param]
    opened = kind(request.getfixturevalue(kind.server) if kind.server else None, tmp_path)
    yield opened
    opened.close()
    gc.collect()  # clients that do not close their sockets warn now, under the filters of the test


@pytest.fixture(params=list(LLAMA_INDEX_KINDS))
def llama_service(request, tmp_path):
    """Each store of LlamaIndex, over its running server."""
    kind = LLAMA_INDEX_KINDS[request.param]
    opened = kind(kind.server and request.getfixturevalue(kind.server), tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def nodes():
    """54 nodes with the row they stand in."""
    hidden = {"excluded_embed_metadata_keys": ["row"]}
    return [TextNode(text=text, metadata={"row": row}, **hidden) for row, text in enumerate(CORPUS)]


@pytest.fixture
def make_embedding(encoder):
    """Makes `ContextualEmbedding` over the one encoder, fitted on texts."""
    return lambda texts=CORPUS: ContextualEmbedding(encoder=encoder).fit(texts)


@pytest.fixture
def documents():
    """54 documents with the row they stand in."""
    return [Document(page_content=text, metadata={"row": row}) for row, text in enumerate(CORPUS)]


@pytest.fixture
def other():
    """Texts of another corpus, whose context changes the ranking of the first."""
    return OTHER


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("whitening")


@pytest.fixture
def guarded(encoder):
    """Makes `ContextualEmbeddings` over the one encoder, fitted on texts."""
    return lambda texts=CORPUS: ContextualEmbeddings(encoder=encoder).fit(texts)


@pytest.fixture
def unguarded(encoder):
    """Makes embeddings over the same encoder that guard nothing."""
    return lambda texts=CORPUS: UnguardedEmbeddings(encoder, encoder.fit_context(texts))


@pytest.fixture
def hit_rate(documents):
    """The share of every sixth document that a store finds first when it is asked for their own text."""
    asked = documents[::6]

    def share(store, **options):
        found = [store.similarity_search(document.page_content, k=1, **options) for document in asked]
        right = [[hit.page_content for hit in hits] == [d.page_content] for hits, d in zip(found, asked, strict=True)]
        return sum(right) / len(asked)

    return share
