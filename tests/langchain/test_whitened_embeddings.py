"""LangChain's own test suites over a fake paid service, and tests of bases."""

import asyncio
import copy
import pickle
import threading

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    EmbeddingServiceError,
)
from cde_retrievers.external.identity import PROBE
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualRetriever,
    ContextualVectorStore,
    WhitenedEmbeddings,
)

DOCUMENTS = [Document(page_content=text, metadata={"row": i}) for i, text in enumerate(CORPUS)]


class PaidEmbeddings(PaidService, Embeddings):
    model_name = "paid-1"


class Ours:
    @property
    def embeddings_class(self):
        return WhitenedEmbeddings

    @property
    def embedding_model_params(self):
        return {"base": PaidEmbeddings(), "context_documents": CORPUS}


class TestStandardUnit(Ours, EmbeddingsUnitTests):
    pass


class TestStandardIntegration(Ours, EmbeddingsIntegrationTests):
    pass


@pytest.fixture
def base():
    return PaidEmbeddings()


@pytest.fixture
def embeddings(base):
    return WhitenedEmbeddings(base=base)


def test_an_index_costs_its_documents_and_one_probe(base, embeddings):
    InMemoryVectorStore.from_documents(DOCUMENTS, embeddings.fit(DOCUMENTS))
    assert sorted(base.bill) == sorted(CORPUS)
    assert len(base.paid) == len(CORPUS) + 1


def test_a_saved_context_is_not_paid_for_again(base, embeddings, tmp_path):
    embeddings.fit(DOCUMENTS).save_context(tmp_path / "context")
    later = PaidEmbeddings()
    again = WhitenedEmbeddings(base=later, context_path=tmp_path / "context")
    InMemoryVectorStore.from_documents(DOCUMENTS, again)
    assert len(later.paid) == 1
    assert again == embeddings
    assert again.embed_query("red cat") == embeddings.embed_query("red cat")


def test_hugging_face_embeddings_become_what_the_encoder_over_the_same_model_is(biencoder_folder):
    base = pytest.importorskip("langchain_huggingface").HuggingFaceEmbeddings(
        model_name=str(biencoder_folder), model_kwargs={"device": "cpu"}
    )
    twin = ContextualEncoder.from_biencoder(biencoder_folder, "whitening", device="cpu", dtype="float32")
    expected = ContextualEmbeddings(encoder=twin).fit(DOCUMENTS)
    found = WhitenedEmbeddings(base=base).fit(DOCUMENTS)
    assert found.model_name == str(biencoder_folder)
    assert found.context.documents == expected.context.documents
    np.testing.assert_allclose(found.embed_documents(CORPUS), expected.embed_documents(CORPUS), atol=1e-5)
    for query in QUERIES:
        np.testing.assert_allclose(found.embed_query(query), expected.embed_query(query), atol=1e-5)


def test_the_options_of_context_and_calls_are_used(base):
    options = {"context_size": 7, "context_strategy": "kmeans", "context_seed": 3, "batch_size": 20, "keep_mib": 0}
    embeddings = WhitenedEmbeddings(base=base, power=0.1, shrinkage=2, **options).fit(CORPUS)
    assert (len(embeddings.context), embeddings.context.strategy, embeddings.context.seed) == (7, "kmeans", 3)
    assert base.calls == [1, 20, 20, 14]
    embeddings.embed_documents(CORPUS)
    assert len(base.bill) == 2 * len(CORPUS) - 7, "nothing is kept but the context's own"
    assert WhitenedEmbeddings(base=base, power=0.1, shrinkage=2) == WhitenedEmbeddings(
        base=base, power=0.1, shrinkage=2.0
    )
    assert WhitenedEmbeddings(base=base, power=0.1) != WhitenedEmbeddings(base=base)


def test_the_services_failures_are_waited_out_or_named(base):
    embeddings = WhitenedEmbeddings(base=base, retries=1, wait=0, batch_size=10)
    base.failing = iter([True, False, True, False, False])
    embeddings.fit(CORPUS)
    base.failing = iter([True] * 2)
    with pytest.raises(EmbeddingServiceError, match="failed 2 times in a row"):
        embeddings.embed_query("red cat")


def test_an_index_is_opened_with_the_base_alone(base, embeddings, tmp_path):
    built = ContextualVectorStore.from_documents(DOCUMENTS, embeddings.fit(DOCUMENTS), path=tmp_path / "index")
    with pytest.raises(ConfigurationError, match=r"'paid-1' of another library.*base=\.\.\."):
        ContextualVectorStore.open(tmp_path / "index")
    fresh = WhitenedEmbeddings(base=base)
    store = ContextualVectorStore.open(tmp_path / "index", fresh)
    assert store.embeddings == embeddings
    assert store.similarity_search(QUERIES[0]) == built.similarity_search(QUERIES[0])
    assert fresh.context_fingerprint is None


def test_a_changed_model_is_noticed(base, embeddings, tmp_path):
    embeddings.fit(CORPUS).save_context(tmp_path / "context")
    base.model = "b"
    with pytest.raises(ContextMismatchError, match="the model named 'paid-1' has changed"):
        WhitenedEmbeddings(base=base, context_path=tmp_path / "context")


def test_the_guards_hold(base, embeddings, tmp_path):
    with pytest.raises(ContextNotFittedError, match=r"embeddings\.fit\(documents\)"):
        embeddings.embed_query("red cat")
    InMemoryVectorStore.from_documents(DOCUMENTS, embeddings.fit(DOCUMENTS))
    with pytest.raises(ContextInUseError, match="refit=True"):
        embeddings.fit(QUERIES)
    with pytest.raises(ContextMismatchError):
        embeddings.check_context("f" * 64)
    embeddings.save_context(tmp_path / "context")
    with pytest.raises(ContextMismatchError, match="but the encoder is 'paid-2'"):
        WhitenedEmbeddings(base=base, base_name="paid-2", context_path=tmp_path / "context")


def test_the_retriever_takes_them(base, embeddings):
    retriever = ContextualRetriever.from_documents(DOCUMENTS, embeddings=embeddings, k=3)
    assert len(retriever.invoke("red cat")) == 3
    assert len(base.bill) == len(CORPUS) + 1, "the documents and the query"


def test_views_share_what_is_paid_for(base, embeddings):
    view = embeddings.fit(CORPUS).with_context(WhitenedEmbeddings(base=base).fit(QUERIES).context)
    assert view.context.corpus_size == len(QUERIES)
    paid = len(base.paid)
    assert view.embed_documents(CORPUS) != embeddings.embed_documents(CORPUS)
    assert len(base.paid) == paid
    for copied in (copy.copy(embeddings), copy.deepcopy(embeddings), embeddings.model_copy()):
        assert copied.fit(QUERIES, refit=True) != embeddings


async def test_async_does_not_block_the_event_loop(base, embeddings, monkeypatch):
    embeddings.fit(CORPUS)
    expected = embeddings.embed_documents(CORPUS), embeddings.embed_query("red cat")
    entered, release = threading.Event(), threading.Event()

    def slow(text):
        entered.set()
        assert release.wait(600)
        return PaidEmbeddings.embed_query(base, text)

    monkeypatch.setattr(base, "embed_query", slow)
    again = WhitenedEmbeddings(base=base)
    again.fit(CORPUS)
    both = asyncio.gather(again.aembed_documents(CORPUS), again.aembed_query("red cat"))
    while not entered.is_set():
        await asyncio.sleep(0.001)
    release.set()  # only reached because the event loop was free while a thread waited
    assert tuple(await both) == expected


def test_pickles_carry_base_and_context(embeddings):
    twin = pickle.loads(pickle.dumps(embeddings.fit(CORPUS)))
    assert twin == embeddings
    assert twin.embed_query("red cat") == embeddings.embed_query("red cat")
    assert not pickle.loads(pickle.dumps(WhitenedEmbeddings(base=PaidEmbeddings()))).context_fingerprint


def test_a_pickle_whose_base_came_back_different_is_refused(base, embeddings, monkeypatch):
    embeddings.fit(CORPUS)
    monkeypatch.setattr(PaidEmbeddings, "__setstate__", lambda self, state: self.__init__(model="b"), raising=False)
    twin = pickle.loads(pickle.dumps(embeddings))  # an error here would keep a process pool waiting for ever
    with pytest.raises(ContextMismatchError, match="has changed"):
        twin.embed_query("red cat")


def test_reading_a_pickle_costs_no_call(base, embeddings):
    def read_twice(one):
        return pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(one))))

    assert read_twice(embeddings).base.paid == []
    twin = read_twice(embeddings.fit(CORPUS))
    assert twin.base.paid == base.paid, "what was paid for travels along"
    assert twin.context_fingerprint == embeddings.context_fingerprint
    twin.embed_query("red cat")
    assert twin.base.paid == [*base.paid, PROBE, "red cat"]


def test_a_base_that_cannot_be_pickled_says_what_to_do(base, embeddings):
    base.client = threading.Lock()
    with pytest.raises(ConfigurationError, match=r"PaidEmbeddings cannot be pickled .* context_path=path"):
        pickle.dumps(embeddings.fit(CORPUS))


def test_a_base_without_a_name_must_be_given_one(base):
    base.model_name = ""
    base.model = 3
    with pytest.raises(ConfigurationError, match=r"PaidEmbeddings does not name its model.* give base_name='...'"):
        WhitenedEmbeddings(base=base)
    assert WhitenedEmbeddings(base=base, base_name="mine").model_name == "mine"
    base.model = "served-2"
    assert WhitenedEmbeddings(base=base).model_name == "served-2"


def test_bad_settings_are_refused(base, embeddings):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        WhitenedEmbeddings(base=base, device="cpu")
    with pytest.raises(ValidationError, match="base"):
        WhitenedEmbeddings(base="text-embedding-3-small")
    with pytest.raises(ConfigurationError, match="power"):
        WhitenedEmbeddings(base=base, power=2)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        WhitenedEmbeddings(base=base, encoder=embeddings.embedder)


def test_repr_shows_settings_and_neither_texts_nor_the_base(base):
    shown = repr(WhitenedEmbeddings(base=base, context_documents=CORPUS))
    assert "model_name='paid-1'" in shown
    assert "device" not in shown
    assert CORPUS[0] not in shown
    assert "PaidEmbeddings" not in shown
