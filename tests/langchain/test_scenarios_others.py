"""Ways in which frameworks and embeddings around a store lose a context: first as it goes unguarded, then guarded."""

import hashlib
import pickle
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, PrivateAttr
from tiny import CORPUS

from cde_retrievers import errors
from cde_retrievers.errors import CDEError, ContextNotFittedError
from cde_retrievers.langchain import ContextualEmbeddings

BAR = "Embedding: 100%"


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


def test_scenario_8_unguarded_a_tensor_in_a_private_attribute_breaks_equality():
    class Plain(BaseModel):
        _context: torch.Tensor = PrivateAttr(default_factory=lambda: torch.zeros(2, 2))

    with pytest.raises(RuntimeError, match="Boolean value of Tensor"):
        _ = Plain() == Plain()


def test_scenario_8_equality_is_that_of_model_and_context(guarded, other):
    assert guarded() == guarded()
    assert guarded() != guarded(other)


def refitted_during_a_call(embeddings, refit, encoder, monkeypatch):
    """What `embed_documents` returns if the context is replaced after it was called and before it embeds."""
    entered, release, run = threading.Event(), threading.Event(), encoder._runner.run

    def wait_once(*arguments):
        monkeypatch.setattr(encoder._runner, "run", run)
        entered.set()
        assert release.wait(30)
        return run(*arguments)

    monkeypatch.setattr(encoder._runner, "run", wait_once)
    rows = []
    worker = threading.Thread(target=lambda: rows.extend(embeddings.embed_documents(CORPUS[:4])))
    worker.start()
    assert entered.wait(30)
    refit()
    release.set()
    worker.join(30)
    return rows


def test_scenario_8_unguarded_a_refit_during_a_call_mixes_its_rows(unguarded, other, encoder, monkeypatch):
    plain = unguarded()
    one_by_one = SimpleNamespace(embed_documents=lambda texts: [plain.embed_query(text) for text in texts])
    expected = [plain.embed_query(text) for text in CORPUS[:4]]
    rows = refitted_during_a_call(one_by_one, lambda: plain.refit(other), encoder, monkeypatch)
    assert np.abs(np.subtract(rows, expected)).max(axis=1).round(3).tolist()[0] == 0
    assert np.abs(np.subtract(rows, expected)).max(axis=1)[1:].min() > 0.1


def test_scenario_8_a_call_ends_under_the_context_it_began_with(guarded, other, encoder, monkeypatch):
    embeddings = guarded()
    expected = embeddings.embed_documents(CORPUS[:4])
    rows = refitted_during_a_call(embeddings, lambda: embeddings.fit(other, refit=True), encoder, monkeypatch)
    assert rows == expected != embeddings.embed_documents(CORPUS[:4])


def many(documents):
    return [
        document.model_copy(update={"page_content": f"{document.page_content} {i}"})
        for i in (1, 2, 3)
        for document in documents
    ]


def test_scenario_9_unguarded_qdrant_prints_a_bar_for_every_64_documents(unguarded, encoder, documents, capsys):
    qdrant = pytest.importorskip("langchain_qdrant")
    plain = unguarded()
    plain.embed_documents = lambda texts: encoder.encode_documents(texts, plain.context, show_progress=True).tolist()
    qdrant.QdrantVectorStore.from_documents(many(documents), plain, location=":memory:")
    assert capsys.readouterr().err.count(BAR) == 1 + 3  # the dummy text, then 64, 64 and 34 documents


def test_scenario_9_only_a_large_call_shows_a_bar(encoder, documents, capsys):
    qdrant = pytest.importorskip("langchain_qdrant")
    embeddings = ContextualEmbeddings(encoder=encoder, show_progress=True).fit(documents)
    assert capsys.readouterr().err.count(BAR) == 1
    qdrant.QdrantVectorStore.from_documents(many(documents), embeddings, location=":memory:")
    embeddings.embed_query("red cat")
    assert BAR not in capsys.readouterr().err
    InMemoryVectorStore.from_documents(many(documents), embeddings)
    assert capsys.readouterr().err.count(BAR) == 1
