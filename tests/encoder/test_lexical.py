"""A lexical part after the dense one: cosines are those of both, and nothing of the base meets it."""

from dataclasses import replace

import numpy as np
import pytest
from bag_of_words import BagOfWords
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.lexical import LexicalEmbedder
from cde_retrievers.encoder.vector_settings import VectorSettings
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, EmbeddingServiceError, InvalidTextError
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.index import ContextualIndex
from cde_retrievers.sparse.projection import WEIGHT, lexical_vectors


@pytest.fixture
def service():
    return PaidService()


@pytest.fixture(params=["joint", "cached", "whitening", "service", "bag of words"])
def base(request, make_encoder, service):
    if request.param == "service":
        return WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)
    return BagOfWords() if request.param == "bag of words" else make_encoder(request.param)


def test_cosines_are_the_weighed_mean_of_the_dense_and_the_lexical(base):
    embedder = LexicalEmbedder(base, 64)
    own, context = embedder.fit_context(CORPUS), base.fit_context(CORPUS)
    found = embedder.encode_queries(QUERIES, own) @ embedder.encode_documents(CORPUS, own).T
    dense = base.encode_queries(QUERIES, context) @ base.encode_documents(CORPUS, context).T
    queries, documents = (lexical_vectors(texts, context.term_statistics(), 64) for texts in (QUERIES, CORPUS))
    np.testing.assert_allclose(found, (dense + WEIGHT * queries @ documents.T) / (1 + WEIGHT), atol=1e-5)


def test_a_text_without_terms_keeps_its_dense_vector(base):
    embedder = LexicalEmbedder(base, 64)
    own, context = embedder.fit_context(CORPUS), base.fit_context(CORPUS)
    (vector,) = embedder.encode_queries(["the of and"], own)
    np.testing.assert_allclose(vector[: base.width], base.encode_queries(["the of and"], context)[0], atol=1e-6)
    assert not vector[base.width :].any()


def test_it_is_an_embedder_whose_contexts_are_its_own(base):
    embedder, wider = LexicalEmbedder(base, 64), LexicalEmbedder(base, 65)
    assert isinstance(embedder, Embedder)
    assert (embedder.name, embedder.width) == (base.name, base.width + 64)
    assert embedder.vector_settings == VectorSettings(lexical_width=64)
    contexts = [one.fit_context(CORPUS) for one in (embedder, wider, base)]
    assert len({context.fingerprint for context in contexts}) == 3
    assert len({context.documents for context in contexts}) == 1
    embedder.check_context(contexts[0])
    for one, other in ((embedder, contexts[1]), (embedder, contexts[2]), (base, contexts[0])):
        for call in (
            lambda one=one, other=other: one.check_context(other),
            lambda one=one, other=other: one.encode_documents(CORPUS, other),
            lambda one=one, other=other: one.encode_queries(QUERIES, other),
        ):
            with pytest.raises(ContextMismatchError):
                call()


def test_nothing_is_embedded_of_nothing(base):
    embedder = LexicalEmbedder(base, 64)
    context = embedder.fit_context(CORPUS)
    for encode in (embedder.encode_documents, embedder.encode_queries):
        assert encode([], context).shape == (0, embedder.width)
        with pytest.raises(InvalidTextError):
            encode("red cat", context)


def test_a_context_without_term_statistics_is_refused_before_anything_is_paid_for(service):
    base = WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)
    embedder = LexicalEmbedder(base, 64)
    without = replace(embedder.fit_context(CORPUS), terms=None)
    paid = list(service.paid)
    for call in (
        lambda: embedder.check_context(replace(base.fit_context(CORPUS), terms=None)),
        lambda: embedder.check_context(without),
        lambda: embedder.encode_documents(["a cup"], without),
        lambda: embedder.encode_queries(["a cup"], without),
    ):
        with pytest.raises(ContextMismatchError, match="carries no term statistics"):
            call()
    assert service.paid == paid


def test_an_answer_of_the_base_is_checked(monkeypatch):
    base = BagOfWords()
    embedder = LexicalEmbedder(base, 64)
    context = embedder.fit_context(CORPUS)
    monkeypatch.setattr(base, "encode_documents", lambda texts, *_: np.ones((1, base.width)))
    with pytest.raises(EmbeddingServiceError, match="needed"):
        embedder.encode_documents(CORPUS, context)


def test_an_index_of_its_own_keeps_to_it(make_encoder, tmp_path):
    base = make_encoder()
    embedder = LexicalEmbedder(base, 64)
    ContextualIndex.build(CORPUS, embedder, tmp_path / "index", context=embedder.fit_context(CORPUS))
    with pytest.raises(ContextMismatchError, match="with the same settings"):
        ContextualIndex.open(tmp_path / "index", base)
    (hit,) = ContextualIndex.open(tmp_path / "index", embedder).search(CORPUS[3], k=1)
    assert hit.text == CORPUS[3]


@pytest.mark.parametrize("width", [0, -1, 2.5, True, None, "384", 1 << 40])
def test_impossible_widths_are_refused(width):
    with pytest.raises(ConfigurationError, match="lexical_width must be"):
        LexicalEmbedder(BagOfWords(), width)


def test_both_settings_together_are_refused():
    with pytest.raises(ConfigurationError, match=r"changes the vectors of documents too.*give one of the two"):
        VectorSettings(side="query", lexical_width=384)
