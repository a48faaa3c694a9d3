"""How frameworks and wrappers around a store can lose a context: each case without the guard, then with it."""

import hashlib
import pickle
from unittest.mock import Mock

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from tiny import CORPUS

from cde_retrievers import errors
from cde_retrievers.errors import CDEError, ContextNotFittedError
from cde_retrievers.langchain import ContextualEmbeddings


def as_milvus_embeds(embeddings, texts):
    """The lines of `langchain_milvus` 0.4.0 that embed what is added; the package itself needs a server."""
    try:
        return embeddings.embed_documents(texts)
    except NotImplementedError:
        return [embeddings.embed_query(text) for text in texts]


def test_scenario_5_unguarded_milvus_takes_an_error_for_leave_to_embed_documents_as_queries():
    class Unready:
        def embed_documents(self, texts):
            raise NotImplementedError("fit first")

        def embed_query(self, text):
            return ["a query's vector"]

    assert as_milvus_embeds(Unready(), CORPUS[:1]) == [["a query's vector"]]


def test_scenario_5_no_error_of_ours_is_taken_for_leave(encoder):
    with pytest.raises(ContextNotFittedError):
        as_milvus_embeds(ContextualEmbeddings(encoder=encoder), CORPUS)
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CDEError)]
    assert len(ours) > 10
    assert not any(issubclass(kind, NotImplementedError | ValueError) for kind in ours)


class PublishedModel:
    """Stands for a released CDE model in sentence-transformers: it is given its context with every call, or is not."""

    def encode(self, texts, show_progress_bar, dataset_embeddings=None, prompt_name=None):
        return np.full((len(texts), 1), 0.0 if dataset_embeddings is None else 1.0)

    def start_multi_process_pool(self):
        return {"input": Mock(), "output": Mock(), "processes": []}

    def encode_multi_process(self, texts, pool):
        return np.zeros((len(texts), 1))


@pytest.mark.slow  # imports sentence-transformers
def test_scenario_6_unguarded_hugging_face_embeddings_drop_the_context():
    hugging_face = pytest.importorskip("langchain_huggingface.embeddings.huggingface").HuggingFaceEmbeddings
    pytest.importorskip("sentence_transformers")

    def embeddings(**settings):
        made = hugging_face.model_construct(encode_kwargs={"dataset_embeddings": "the corpus"}, **settings)
        made._client = PublishedModel()
        return made

    assert (embeddings().embed_documents(["x"]), embeddings().embed_query("x")) == ([[1.0]], [1.0])
    assert embeddings(multi_process=True).embed_documents(["x"]) == [[0.0]]
    assert embeddings(query_encode_kwargs={"prompt_name": "query"}).embed_query("x") == [0.0]


def test_scenario_6_every_path_embeds_under_the_context(model_folder):
    embeddings = ContextualEmbeddings(model=str(model_folder), device="cpu", dtype="float32").fit(CORPUS)
    encoder, context = embeddings._binding.encoder, embeddings.context
    for copy in (embeddings, pickle.loads(pickle.dumps(embeddings))):  # how a worker process gets it
        documents = encoder.encode_documents(CORPUS[:5], context)
        np.testing.assert_allclose(copy.embed_documents(CORPUS[:5]), documents, atol=1e-6)
        np.testing.assert_allclose(copy.embed_query("a cat"), encoder.encode_queries(["a cat"], context)[0], atol=1e-6)


@pytest.fixture
def parents():
    """Nine documents of six sentences, which are what gets embedded."""
    return [Document(".".join(CORPUS[start : start + 6])) for start in range(0, 54, 6)]


@pytest.fixture
def splitter():
    return pytest.importorskip("langchain_text_splitters").CharacterTextSplitter(
        separator=".", chunk_size=30, chunk_overlap=0
    )


@pytest.fixture
def parent_retriever(splitter):
    retrievers = pytest.importorskip("langchain_classic.retrievers")

    def make(embeddings):
        return retrievers.ParentDocumentRetriever(
            vectorstore=InMemoryVectorStore(embeddings), docstore=InMemoryStore(), child_splitter=splitter
        )

    return make


def digests(texts):
    return {hashlib.sha256(text.encode()).hexdigest() for text in texts}


def test_scenario_7_unguarded_a_fit_on_parents_has_seen_nothing_of_what_is_embedded(
    parent_retriever, unguarded, parents
):
    plain = unguarded([parent.page_content for parent in parents])
    parent_retriever(plain).add_documents(parents)
    (embedded,) = plain.seen
    assert digests(embedded).isdisjoint(plain.context.documents)


def test_scenario_7_a_fit_on_the_chunks_has_seen_what_is_embedded(
    parent_retriever, splitter, encoder, parents, monkeypatch
):
    embeddings = ContextualEmbeddings(encoder=encoder)
    retriever = parent_retriever(embeddings)
    with pytest.raises(ContextNotFittedError, match="the same documents that go into the vector store"):
        retriever.add_documents(parents)
    assert (retriever.vectorstore.store, list(retriever.docstore.yield_keys())) == ({}, [])
    embeddings.fit(splitter.split_documents(parents))
    retriever.add_documents(parents)
    embedded = digests(entry["text"] for entry in retriever.vectorstore.store.values())
    assert embeddings.context.corpus_size == len(embedded) == 54
    assert embedded.issuperset(embeddings.context.documents)
    assert retriever.invoke(CORPUS[7])[0].page_content == parents[1].page_content


def test_scenario_7_a_small_batch_is_never_taken_for_a_context(encoder, guarded):
    with pytest.raises(ContextNotFittedError):  # as a filter of search results or a semantic splitter would call it
        ContextualEmbeddings(encoder=encoder).embed_documents(CORPUS[:3])
    embeddings = guarded()
    context = embeddings.context
    embeddings.embed_documents(CORPUS[:3])
    assert embeddings.context == context
