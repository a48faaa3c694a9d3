"""LlamaIndex's stores over servers of this test run, all used in the same way."""

import time
from uuid import uuid4

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from servers import HOST, PASSWORD, SELDOM_PINGED

from cde_retrievers.llama_index import ContextualRetriever, ContextualSparseEmbedding, stamped
from cde_retrievers.stores.chroma import ChromaCollection
from cde_retrievers.stores.milvus import MilvusCollection
from cde_retrievers.stores.postgres import PostgresTable
from cde_retrievers.stores.qdrant import QdrantCollection

WIDTH = 32  # of the vectors of the tests


class Service:
    """One of LlamaIndex's stores; its test is skipped where the package is not installed.

    Attributes:
        framework: whose store it is.
        server: name of the fixture that runs its server; None if it runs in this process.
        module: where its class is.
        store_name: name of its class.
        collection: what `refit_store` moves.
        lost: what the error says where its server does not answer.
        refit: how `refit_store` moves the name; None if it does not.
        hybrid: what the database itself searches by beside vectors; None if that is nothing.
    """

    framework = "LlamaIndex"
    server = None
    module = ""
    store_name = ""
    collection = None
    lost = ""
    refit = None
    hybrid = None

    def __init__(self, server, folder):
        self.store_class = getattr(pytest.importorskip(self.module), self.store_name)
        self.running, self.folder = server, folder

    def name(self):
        return f"li{uuid4().hex[:16]}"

    def open(self, name, **options):
        """The store over a collection, which is made if it does not exist."""
        raise NotImplementedError

    def reopened(self, name):
        """The store, once its server runs again."""
        return self.open(name)

    def open_limited(self, name):
        """The store by a client that waits for a connection for a second or two, where it has an option for that."""
        raise NotImplementedError

    def open_hybrid(self, name, embedding):
        """The store over a collection that is searched by more than vectors."""
        raise NotImplementedError

    def name_for_readers(self, name):
        """Prepare a name that can lead to another collection later."""

    def close(self):
        """Release what was opened."""


class Chroma(Service):
    server = "chroma"
    module, store_name = "llama_index.vector_stores.chroma", "ChromaVectorStore"
    collection = ChromaCollection
    lost = "(?i)connect"
    refit = "two renames"

    def open(self, name, **options):
        client = pytest.importorskip("chromadb").HttpClient(host=HOST, port=self.running.port)
        made = client.get_or_create_collection(name, metadata={"hnsw:space": "cosine"})
        return self.store_class(chroma_collection=made, **options)


class LanceDB(Service):
    module, store_name = "llama_index.vector_stores.lancedb", "LanceDBVectorStore"

    def open(self, name, **options):
        return self.store_class(uri=str(self.folder / "lancedb"), table_name=name, **options)


class Milvus(Service):
    server = "milvus"
    module, store_name = "llama_index.vector_stores.milvus", "MilvusVectorStore"
    collection = MilvusCollection
    lost = "Fail connecting"
    refit = "two renames"

    def open(self, name, **options):
        settings = {"dim": WIDTH, "similarity_metric": "COSINE", "consistency_level": "Strong"}
        address = f"http://{HOST}:{self.running.port}"
        given = {**settings, "grpc_options": SELDOM_PINGED, **options}
        return self.store_class(uri=address, collection_name=name, **given)

    def open_limited(self, name):
        return self.open(name, timeout=1)

    def reopened(self, name):
        store = connected_again(lambda: self.open(name))
        store.client.load_collection(name)  # Milvus Lite forgets that it was
        return store


class Postgres(Service):
    server = "postgres"
    module, store_name = "llama_index.vector_stores.postgres", "PGVectorStore"
    collection = PostgresTable
    lost = "(?i)connection|terminat"
    refit = "one transaction"
    hybrid = "words of its own"

    def open(self, name, **options):
        place = {"host": HOST, "port": str(self.running.port), "database": "postgres", "user": "postgres"}
        given = {"password": PASSWORD, "table_name": name.removeprefix("data_"), "embed_dim": WIDTH, **options}
        return self.store_class.from_params(**place, **given)

    def open_limited(self, name):
        # One of `create_engine_kwargs` would reach asyncpg too, which does not know it.
        address = f"postgresql+psycopg2://postgres:{PASSWORD}@{HOST}:{self.running.port}/postgres?connect_timeout=2"
        return self.open(name, connection_string=address)

    def open_hybrid(self, name, embedding):
        return self.open(name, hybrid_search=True)


class Qdrant(Service):
    module, store_name = "llama_index.vector_stores.qdrant", "QdrantVectorStore"
    collection = QdrantCollection
    refit = "the alias"
    hybrid = "sparse vectors"

    def __init__(self, server, folder):
        super().__init__(server, folder)
        # Only one client at a time may have the folder.
        self.client = pytest.importorskip("qdrant_client").QdrantClient(path=str(folder / "qdrant"))

    def open(self, name, **options):
        return self.store_class(client=self.client, collection_name=name, **options)

    def open_limited(self, name):
        from qdrant_client import QdrantClient

        client = QdrantClient(url=f"http://{HOST}:{self.running.port}", timeout=1, check_compatibility=False)
        return self.store_class(client=client, collection_name=name)

    def open_hybrid(self, name, embedding):
        sparse = ContextualSparseEmbedding(embedding)
        own = {"sparse_doc_fn": sparse.encode_documents, "sparse_query_fn": sparse.encode_queries}
        return self.open(name, enable_hybrid=True, **own)

    def name_for_readers(self, name):
        from qdrant_client import models

        vectors = {"text-dense": models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)}
        self.client.create_collection(f"first_{name}", vectors_config=vectors)
        made = models.CreateAlias(collection_name=f"first_{name}", alias_name=name)
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=made)])

    def close(self):
        self.client.close()


KINDS = {kind.__name__: kind for kind in (Chroma, LanceDB, Milvus, Postgres, Qdrant)}


def connected_again(connect):
    """A new client: gRPC waits before it tries an address again that refused it, for the whole process."""
    for _ in range(60):
        try:
            return connect()
        except Exception as error:
            if "Fail connecting" not in str(error):
                raise
            time.sleep(1)
    raise TimeoutError("the server was not reached within a minute")


def built(store, nodes, embedding):
    """An index over a store, of nodes that are stamped."""
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(stamped(nodes, embedding), storage_context=storage, embed_model=embedding)


def retriever_over(store, embedding, **options):
    """Our retriever over a store that LlamaIndex opened by itself."""
    return ContextualRetriever(VectorStoreIndex.from_vector_store(store, embed_model=embedding), embedding, **options)


def rows_of(store, embedding):
    """The rows of all nodes that LlamaIndex's own retriever finds."""
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    return sorted(int(hit.node.metadata["row"]) for hit in index.as_retriever(similarity_top_k=200).retrieve("red cat"))
