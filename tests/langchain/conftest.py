"""Two corpora, embeddings with guards, and embeddings without them."""

from uuid import uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from tiny import CORPUS

from cde_retrievers.langchain import ContextualEmbeddings

OTHER = [f"{first} {second}" for first in ("map", "key", "list", "value") for second in ("file", "how", "do", "i")]


class UnguardedEmbeddings(Embeddings):
    """An encoder and a context, with nothing that keeps an index and its context together."""

    def __init__(self, encoder, texts=None):
        self.encoder = encoder
        self.seen = []
        self.context = None
        if texts is not None:
            self.refit(texts)

    def refit(self, texts):
        self.context = self.encoder.fit_context(texts)

    def embed_documents(self, texts):
        self.seen.append(list(texts))
        return self.encoder.encode_documents(texts, self.context).tolist()

    def embed_query(self, text):
        return self.encoder.encode_queries([text], self.context)[0].tolist()


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
    """Without prompts: a document is found by its own text with a score of 1, under its own context."""
    return make_encoder("whitening")


@pytest.fixture
def guarded(encoder):
    """Makes `ContextualEmbeddings` over the one encoder, fitted on texts."""

    def make(texts=CORPUS):
        return ContextualEmbeddings(encoder=encoder).fit(texts)

    return make


@pytest.fixture
def unguarded(encoder):
    """Makes embeddings over the same encoder that guard nothing."""

    def make(texts=CORPUS):
        return UnguardedEmbeddings(encoder, texts)

    return make


@pytest.fixture
def hit_rate(documents):
    """The share of every sixth document that a store finds first when it is asked for their own text."""
    asked = documents[::6]

    def share(store, **options):
        found = [store.similarity_search(document.page_content, k=1, **options) for document in asked]
        right = [[hit.page_content for hit in hits] == [d.page_content] for hits, d in zip(found, asked, strict=True)]
        return sum(right) / len(asked)

    return share


@pytest.fixture(params=["inmemory", "chroma", "qdrant"])
def new_store(request):
    """Makes an empty store over some embeddings, and an object over the same collection with other embeddings."""
    return Stores(request.param)


class Stores:
    """Real stores of one kind; collections have a name of their own, since Chroma's in memory share one client."""

    def __init__(self, kind):
        self.kind = kind
        if kind != "inmemory":
            pytest.importorskip(f"langchain_{kind}")

    def __call__(self, embeddings):
        if self.kind == "chroma":
            from langchain_chroma import Chroma

            return Chroma(f"test-{uuid4().hex}", embeddings)
        if self.kind == "qdrant":
            from langchain_qdrant import QdrantVectorStore

            return QdrantVectorStore.from_documents([], embeddings, location=":memory:")
        return InMemoryVectorStore(embeddings)

    def over(self, store, embeddings):
        """The same collection, as another process with other embeddings would open it."""
        if self.kind == "chroma":
            return type(store)(store._collection.name, embeddings, client=store._client)
        if self.kind == "qdrant":
            return type(store)(store.client, store.collection_name, embeddings)
        again = InMemoryVectorStore(embeddings)
        again.store = store.store
        return again
