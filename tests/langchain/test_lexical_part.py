"""`lexical_width`: one vector of dense and lexical part, kept apart from the vectors of the same model without it."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextInUseError, ContextMismatchError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualRetriever,
    ContextualVectorStore,
    WhitenedEmbeddings,
    check_index,
    write_context,
)


class PaidEmbeddings(PaidService, Embeddings):
    model_name = "paid-1"


@pytest.fixture(params=["contextual", "whitened"])
def make(request, encoder):
    """Makes embeddings of either class with other settings."""
    if request.param == "contextual":
        return lambda **settings: ContextualEmbeddings(encoder=encoder, **settings)
    base = PaidEmbeddings()
    return lambda **settings: WhitenedEmbeddings(base=base, **settings)


@pytest.fixture
def embeddings(make):
    return make(lexical_width=64).fit(CORPUS)


def test_vectors_are_wider_unit_vectors(make, embeddings):
    plain = make().fit(CORPUS)
    query, (document,) = np.array(embeddings.embed_query("red cat")), np.array(embeddings.embed_documents(["red cat"]))
    assert len(query) == len(document) == len(plain.embed_query("red cat")) + 64
    assert np.linalg.norm(query) == pytest.approx(1)
    np.testing.assert_allclose(query[-64:], document[-64:], atol=1e-6)


def test_an_exact_word_is_found_in_a_store_that_knows_cosine_alone(encoder):
    texts = [*CORPUS, "a note on ERR_4711 alone"]
    store = InMemoryVectorStore.from_texts(texts, ContextualEmbeddings(encoder=encoder, lexical_width=256).fit(texts))
    assert store.similarity_search("what is ERR_4711", k=1)[0].page_content == texts[-1]


def test_vectors_with_and_without_it_never_meet(make, embeddings, new_store):
    plain, wider = make().fit(CORPUS), make(lexical_width=65).fit(CORPUS)
    assert len({one.stamp for one in (embeddings, plain, wider)}) == 3
    assert embeddings != plain
    store = new_store(embeddings)
    store.add_documents([Document(text) for text in CORPUS])
    write_context(store, embeddings)
    check_index(store, embeddings).raise_if_different()
    for other in (plain, wider):
        assert check_index(store, other).verdict == "another context"
        with pytest.raises(ContextMismatchError):
            ContextualRetriever(embeddings=other, vectorstore=store)


def test_contexts_are_kept_apart_and_documents_belong_to_one(make, embeddings, tmp_path):
    make().fit(CORPUS).save_context(tmp_path / "plain")
    embeddings.save_context(tmp_path / "context")
    with pytest.raises(ContextMismatchError):
        make(lexical_width=64, context_path=tmp_path / "plain")
    with pytest.raises(ContextMismatchError):
        make(context_path=tmp_path / "context")
    assert make(lexical_width=64, context_path=tmp_path / "context") == embeddings
    embeddings.embed_documents(CORPUS)
    with pytest.raises(ContextInUseError):
        embeddings.fit(QUERIES)


def test_a_context_that_carries_no_terms_says_what_to_do(make, tmp_path):
    replace(make().fit(CORPUS).context, terms=None).save(tmp_path / "context")
    with pytest.raises(ContextMismatchError, match=r"carries no term statistics.*fit a context with this release"):
        make(lexical_width=64, context_path=tmp_path / "context")


def test_copies_and_views_keep_it(embeddings):
    for one in (copy.copy(embeddings), copy.deepcopy(embeddings), embeddings.with_context(embeddings.context)):
        assert (one.lexical_width, one.stamp) == (64, embeddings.stamp)
        assert one.embed_query("red cat") == embeddings.embed_query("red cat")
        assert one == embeddings


def test_a_pickle_loads_the_model_and_appends_it(model_folder):
    settings = {"device": "cpu", "dtype": "float32", "lexical_width": 64}
    contextual = ContextualEmbeddings(model=model_folder, **settings).fit(CORPUS)
    whitened = WhitenedEmbeddings(base=PaidEmbeddings(), lexical_width=64).fit(CORPUS)
    for one in (contextual, whitened):
        twin = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(one))))
        assert twin.lexical_width == 64
        assert twin == one
        assert twin.embed_query("red cat") == one.embed_query("red cat")


async def test_async_calls_are_the_same(embeddings):
    assert await embeddings.aembed_query("red cat") == embeddings.embed_query("red cat")
    assert await embeddings.aembed_documents(CORPUS[:2]) == embeddings.embed_documents(CORPUS[:2])


def test_the_store_with_its_own_index_takes_them(embeddings, tmp_path):
    documents = [Document(text, id=str(row)) for row, text in enumerate(CORPUS)]
    ContextualVectorStore.from_documents(documents, embeddings, path=tmp_path / "index")
    store = ContextualVectorStore.open(tmp_path / "index", embeddings)
    nearest = InMemoryVectorStore.from_documents(documents, embeddings).similarity_search(CORPUS[5], k=3)
    found = store.similarity_search(CORPUS[5], k=3, search_type="similarity")
    assert [hit.id for hit in found] == [hit.id for hit in nearest]


def test_a_shared_embedder_brings_its_width(embeddings):
    shared = ContextualEmbeddings(encoder=embeddings.embedder)
    assert shared.lexical_width == 64
    with pytest.raises(ConfigurationError, match="already has"):
        ContextualEmbeddings(encoder=embeddings.embedder, lexical_width=65)


def test_bad_widths_are_refused(make):
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        make(lexical_width=-1)
    with pytest.raises(ConfigurationError, match="at most"):
        make(lexical_width=1 << 40)
    with pytest.raises(ConfigurationError, match=r"side='query'.*give one of the two"):
        make(lexical_width=384, side="query")
