"""LangChain's stores over servers of this test run, all used in the same way."""

import asyncio
import time
from contextlib import suppress
from uuid import uuid4

import pytest
from langchain_core.embeddings import Embeddings
from servers import HOST, PASSWORD, SELDOM_PINGED


class UnguardedEmbeddings(Embeddings):
    """An encoder and a context, with nothing that keeps an index and its context together."""

    def __init__(self, encoder, context):
        self.encoder, self.context = encoder, context

    def embed_documents(self, texts):
        return self.encoder.encode_documents(texts, self.context).tolist()

    def embed_query(self, text):
        return self.encoder.encode_queries([text], self.context)[0].tolist()


class Service:
    """One of LangChain's stores.

    Attributes:
        framework: whose store it is.
        server: name of the fixture that runs its server; None if it runs in this process.
        carried: where the collection carries its context.
        filter_key: the argument of a search that takes a filter; None if it takes none.
        lost: what the error says where its server does not answer.
        refit: how `refit_store` moves the name; None if it does not.
        hybrid: what the database itself searches by beside vectors; None if that is nothing.
    """

    framework = "LangChain"
    server = None
    carried = "the collection's metadata"
    filter_key = "filter"
    lost = ""
    refit = None
    hybrid = None

    def __init__(self, server, folder):
        self.running, self.folder = server, folder

    def name(self):
        return f"c{uuid4().hex}"

    def store_class(self):
        raise NotImplementedError

    def options(self, name):
        """The options of `from_documents` that name a collection; it need not exist."""
        raise NotImplementedError

    def open(self, embeddings, name):
        """The store over a collection, empty if it does not exist."""
        raise NotImplementedError

    def name_for_readers(self, name):
        """Prepare a name that can lead to another collection later."""

    def reopened(self, embeddings, name):
        """The store, once its client connects again: gRPC waits between its attempts."""
        end = time.monotonic() + 30
        while True:
            try:
                return self.open(embeddings, name)
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def rows_above(self, row):
        """The store's own filter for later rows."""
        return {"row": {"$gt": row}}

    def close(self):
        """Release what was opened."""


class PGVector(Service):
    server = "postgres"
    carried = "the row of the collection"
    lost = "(?i)connection|terminat"

    def __init__(self, server, folder):
        super().__init__(server, folder)
        self.engines = []

    def store_class(self):
        return pytest.importorskip("langchain_postgres").PGVector

    def options(self, name, **changes):
        from sqlalchemy import create_engine

        self.engines.append(create_engine(self.running.address(**changes)))
        return {"connection": self.engines[-1], "collection_name": name}

    def open(self, embeddings, name, **changes):
        return self.store_class()(embeddings, **self.options(name, **changes))

    def close(self):
        for engine in self.engines:
            engine.dispose()


class PGVectorStore(Service):
    server = "postgres"
    refit = "one transaction"
    hybrid = "words of its own"
    carried = "the comment on the table"
    lost = "(?i)connection|terminat"

    def __init__(self, server, folder):
        super().__init__(server, folder)
        self.engines = []

    def store_class(self):
        return pytest.importorskip("langchain_postgres.v2.vectorstores").PGVectorStore

    def engine(self, **changes):
        from langchain_postgres import PGEngine

        if changes or not self.engines:  # each has a pool of connections
            self.engines.append(PGEngine.from_connection_string(self.running.address(**changes)))
        return self.engines[-1]

    def options(self, name, **changes):
        from sqlalchemy.exc import ProgrammingError

        engine = self.engine(**changes)
        with suppress(ProgrammingError):  # it exists
            engine.init_vectorstore_table(name, 32)
        return {"engine": engine, "table_name": name}

    def open(self, embeddings, name, **changes):
        options = self.options(name, **changes)
        return self.store_class().create_sync(options["engine"], embeddings, options["table_name"])

    def close(self):
        for engine in self.engines:
            asyncio.run(engine.close())


class Chroma(Service):
    server = "chroma"
    refit = "two renames"
    lost = "(?i)connect"

    def store_class(self):
        return pytest.importorskip("langchain_chroma").Chroma

    def options(self, name):
        return {"host": HOST, "port": self.running.port, "collection_name": name}

    def open(self, embeddings, name):
        return self.store_class()(embedding_function=embeddings, **self.options(name))


class Milvus(Service):
    server = "milvus"
    refit = "two renames"
    hybrid = "sparse vectors"
    carried = "the collection's properties"
    filter_key = "expr"
    lost = "(?i)connect|unavailable"

    def store_class(self):
        return pytest.importorskip("langchain_milvus").Milvus

    def options(self, name):
        connection = {"uri": f"http://{HOST}:{self.running.port}", "timeout": 5, "grpc_options": SELDOM_PINGED}
        return {"connection_args": connection, "collection_name": name, "consistency_level": "Strong"}

    def open(self, embeddings, name):
        return self.store_class()(embeddings, **self.options(name))

    def rows_above(self, row):
        return f"row > {row}"


class Qdrant(Service):
    refit = "the alias"
    hybrid = "sparse vectors"

    def __init__(self, server, folder):
        super().__init__(server, folder)
        self.client = pytest.importorskip("qdrant_client").QdrantClient(path=str(folder / "qdrant"))
        # Only one client at a time may have the folder, so that all stores share this one.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("langchain_qdrant.qdrant.QdrantClient", lambda **options: self.client)

    def store_class(self):
        return pytest.importorskip("langchain_qdrant").QdrantVectorStore

    def options(self, name):
        return {"path": str(self.folder / "qdrant"), "collection_name": name}

    def open(self, embeddings, name):
        return self.store_class().from_documents([], embeddings, **self.options(name))

    def name_for_readers(self, name):
        from qdrant_client import models

        vectors = models.VectorParams(size=32, distance=models.Distance.COSINE)
        self.client.create_collection(f"first_{name}", vectors_config=vectors)
        made = models.CreateAlias(collection_name=f"first_{name}", alias_name=name)
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=made)])

    def rows_above(self, row):
        from qdrant_client import models

        return models.Filter(must=[models.FieldCondition(key="metadata.row", range=models.Range(gt=row))])

    def close(self):
        self.patch.undo()
        self.client.close()


class LanceDB(Service):
    carried = "the metadata of the column of vectors"
    filter_key = None

    def store_class(self):
        return pytest.importorskip("langchain_lancedb").LanceDB

    def options(self, name):
        return {"uri": str(self.folder / "lancedb"), "table_name": name}

    def open(self, embeddings, name):
        return self.store_class()(embedding_function=embeddings, **self.options(name))


KINDS = {kind.__name__: kind for kind in (Chroma, LanceDB, Milvus, PGVector, PGVectorStore, Qdrant)}
__all__ = ["KINDS", "PASSWORD", "UnguardedEmbeddings"]
