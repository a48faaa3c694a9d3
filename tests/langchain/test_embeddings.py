"""LangChain's own test suites for embeddings, and tests of contexts."""

import asyncio
import copy
import pickle
import threading

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.encoder import loading
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextFileError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    ContextTooSmallError,
    InvalidTextError,
)
from cde_retrievers.langchain import ContextualEmbeddings

DOCUMENTS = [Document(page_content=text, metadata={"row": i}) for i, text in enumerate(CORPUS)]
CPU = {"device": "cpu", "dtype": "float32"}


class Ours:
    @pytest.fixture(autouse=True)
    def _model(self, model_folder):
        self.folder = model_folder

    @property
    def embeddings_class(self):
        return ContextualEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": str(self.folder), "context_documents": CORPUS, **CPU}


class TestStandardUnit(Ours, EmbeddingsUnitTests):
    pass


class TestStandardIntegration(Ours, EmbeddingsIntegrationTests):
    pass


@pytest.fixture
def embeddings(model_folder):
    return ContextualEmbeddings(model=str(model_folder), **CPU)


def test_documents_and_texts_give_the_same_context_as_the_encoder(embeddings, model_folder):
    encoder = ContextualEncoder.from_pretrained(model_folder, **CPU)
    context = encoder.fit_context(CORPUS)
    assert embeddings.fit(DOCUMENTS).context == context
    assert embeddings.fit(iter(CORPUS)).context_fingerprint == context.fingerprint
    np.testing.assert_allclose(embeddings.embed_documents(CORPUS), encoder.encode_documents(CORPUS, context))
    np.testing.assert_allclose(embeddings.embed_query(QUERIES[0]), encoder.encode_queries(QUERIES[:1], context)[0])


def test_vectors_are_lists_of_python_floats(embeddings):
    row = embeddings.fit(CORPUS).embed_documents(CORPUS[:1])[0]
    assert type(row) is list
    assert type(row[0]) is float
    assert embeddings.embed_documents([]) == []


def test_before_fit_nothing_can_be_embedded(embeddings):
    assert embeddings.context_fingerprint is None
    for embed, argument in ((embeddings.embed_documents, ["dummy_text"]), (embeddings.embed_query, "x")):
        with pytest.raises(ContextNotFittedError, match=r"embeddings\.fit\(documents\)  # the same documents that go"):
            embed(argument)
    with pytest.raises(ContextNotFittedError):
        InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)


def test_fitting_again_after_indexing_needs_refit(embeddings):
    InMemoryVectorStore.from_documents(DOCUMENTS, embeddings.fit(DOCUMENTS))
    with pytest.raises(ContextInUseError, match="refit=True"):
        embeddings.fit(DOCUMENTS[:9])
    assert embeddings.fit(DOCUMENTS[:9], refit=True).context.corpus_size == 9


def test_the_options_of_the_context_are_used(model_folder):
    options = {"context_size": 5, "context_strategy": "diverse", "context_seed": 3}
    context = ContextualEmbeddings(model=str(model_folder), context_documents=DOCUMENTS, **options, **CPU).context
    assert (len(context), context.strategy, context.seed) == (5, "diverse", 3)


def test_a_saved_context_can_be_loaded(embeddings, model_folder, tmp_path):
    embeddings.fit(CORPUS).save_context(tmp_path / "context")
    again = ContextualEmbeddings(model_name=str(model_folder), context_path=tmp_path / "context", **CPU)
    assert again.context == embeddings.context
    assert again.embed_query(QUERIES[0]) == embeddings.embed_query(QUERIES[0])
    with pytest.raises(ContextFileError, match="holds no context"):
        ContextualEmbeddings(model=str(model_folder), context_path=tmp_path, **CPU)


def test_another_models_context_is_refused(embeddings, other_folder, tmp_path):
    embeddings.fit(CORPUS).save_context(tmp_path / "context")
    other = ContextualEncoder.from_biencoder(other_folder, **CPU)
    with pytest.raises(ContextMismatchError):
        ContextualEmbeddings(encoder=other, context_path=tmp_path / "context")


def test_two_indexes_share_one_loaded_model(embeddings, model_folder):
    encoder = ContextualEncoder.from_pretrained(model_folder, **CPU)
    first, second = (ContextualEmbeddings(encoder=encoder).fit(texts) for texts in (CORPUS, QUERIES))
    assert first.encoder is second.encoder
    assert first.embed_query("red cat") != second.embed_query("red cat")
    assert first != second
    assert first == embeddings.fit(CORPUS)
    assert first != "something else"


async def test_async_gives_the_same_and_does_not_block(embeddings, monkeypatch):
    embeddings.fit(CORPUS)
    entered, release = threading.Event(), threading.Event()
    runner = embeddings._binding.encoder._runner
    run = runner.run

    def slow(*arguments):
        entered.set()
        assert release.wait(600)
        return run(*arguments)

    expected = embeddings.embed_documents(CORPUS), embeddings.embed_query("red cat")
    monkeypatch.setattr(runner, "run", slow)
    both = asyncio.gather(embeddings.aembed_documents(CORPUS), embeddings.aembed_query("red cat"))
    while not entered.is_set():
        await asyncio.sleep(0.001)
    release.set()  # only reached because the event loop was free while a thread waited
    assert tuple(await both) == expected


@pytest.mark.parametrize("documents", ["one text", None, [None], [3], [b"x"], [["nested"]], [Document("ok"), None]])
def test_what_is_neither_document_nor_text_is_refused(embeddings, documents):
    with pytest.raises(InvalidTextError):
        embeddings.fit(documents)
    assert embeddings.context_fingerprint is None


def test_too_few_documents_are_refused(embeddings):
    with pytest.raises(ContextTooSmallError, match="found 1 among 5"):
        embeddings.fit([Document("same")] * 5)


def test_bad_settings_are_refused(model_folder):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ContextualEmbeddings(model=str(model_folder), encode_kwargs={})
    with pytest.raises(CheckpointError):
        ContextualEmbeddings(model=str(model_folder.parent), **CPU)


def test_repr_shows_settings_and_no_texts(model_folder):
    shown = repr(ContextualEmbeddings(model=str(model_folder), context_documents=CORPUS, **CPU))
    assert "model_name=" in shown
    assert CORPUS[0] not in shown


def test_a_saved_path_never_outlives_its_context(embeddings, model_folder, tmp_path):
    embeddings.fit(CORPUS).save_context(tmp_path / "context")
    assert embeddings.context_path == tmp_path / "context"
    embeddings.fit(QUERIES)
    assert embeddings.context_path is None


def test_two_contexts_at_once_are_refused(model_folder, tmp_path):
    with pytest.raises(ConfigurationError, match="context_path and context_documents both name a context"):
        ContextualEmbeddings(model=model_folder, context_path=tmp_path, context_documents=CORPUS, **CPU)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, ContextualEmbeddings.model_copy])
def test_a_copy_is_refitted_alone(embeddings, copied):
    twin = copied(embeddings.fit(CORPUS))
    assert twin == embeddings
    twin.fit(QUERIES)
    assert embeddings.context.corpus_size == len(CORPUS)


def test_pickles_carry_the_context(embeddings):
    twin = pickle.loads(pickle.dumps(embeddings.fit(CORPUS)))
    assert twin == embeddings
    assert twin.embed_query("red cat") == embeddings.embed_query("red cat")


def test_a_pickle_is_read_without_its_model_and_the_model_is_loaded_at_the_first_use(embeddings, monkeypatch):
    written = pickle.dumps(embeddings.fit(CORPUS))
    load, loads = loading.load_tokenizer, []
    monkeypatch.setattr(loading, "load_tokenizer", lambda *given: loads.append(given) or load(*given))
    again = pickle.dumps(pickle.loads(written))
    twin = pickle.loads(again)
    copies = [copy.copy(twin), copy.deepcopy(twin), twin.with_context(embeddings.context)]
    assert (twin, twin.context, loads) == (embeddings, embeddings.context, [])
    expected = embeddings.embed_documents(CORPUS[:2])
    for one in (twin, *copies):
        assert one.embed_documents(CORPUS[:2]) == expected
    assert len(loads) == 1, "copies share the model, loaded or not"


def test_what_cannot_be_loaded_again_says_so_at_its_first_use(biencoder_folder):
    embeddings = ContextualEmbeddings(encoder=ContextualEncoder.from_biencoder(biencoder_folder, **CPU)).fit(CORPUS)
    twin = pickle.loads(pickle.dumps(embeddings))
    assert twin == embeddings
    for call in (lambda: twin.embed_query("cat"), lambda: twin.embed_documents(["cat"]), lambda: twin.fit(QUERIES)):
        with pytest.raises(CheckpointError, match="is not a contextual model"):
            call()


def test_a_pickle_loads_its_model_again_with_the_same_settings(model_folder):
    settings = {"context_size": 5, "context_strategy": "kmeans", "show_progress": False}
    twin = pickle.loads(pickle.dumps(ContextualEmbeddings(model=model_folder, **settings, **CPU)))
    assert {key: getattr(twin, key) for key in settings} == settings
    assert twin.context_fingerprint is None
    assert len(twin.fit(CORPUS).context) == 5


def test_backend_and_precision_reach_the_model(model_folder):
    with pytest.raises(ConfigurationError, match="the torch backend has no int8"):
        ContextualEmbeddings(model=str(model_folder), backend="torch", precision="int8")
