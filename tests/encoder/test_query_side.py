"""The context on the query side alone, against a twin that whitens both sides in float64, one text at a time."""

import numpy as np
import pytest
from bag_of_words import BagOfWords
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.query_side import QuerySideEmbedder
from cde_retrievers.encoder.vector_settings import VectorSettings
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.index import ContextualIndex
from cde_retrievers.model.config import WhiteningConditioning


@pytest.fixture
def service():
    return PaidService()


@pytest.fixture(params=["encoder", "service"])
def base(request, make_encoder, service):
    if request.param == "encoder":
        return make_encoder(query_prompt="find ", document_prompt="the ")
    return WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)


def plain(base, texts, context, queries=False):
    """Unit vectors of texts in float64, without any context."""
    embed = base.closed_form.queries if queries else base.closed_form.documents
    vectors = np.array(embed(texts, context), dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def mean_and_matrix(context, settings):
    """The closed form's mean and S^(-p/2), from the eigenvectors of the covariance."""
    units = np.unique(context.vectors, axis=0).astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    covariance = (units - mean).T @ (units - mean) / len(units)
    width = len(mean)
    values, directions = np.linalg.eigh(covariance + settings.shrinkage * np.trace(covariance) / width * np.eye(width))
    return mean, directions @ np.diag(values ** (-settings.power / 2)) @ directions.T


def test_scores_are_those_of_the_closed_form_on_both_sides_but_for_what_belongs_to_the_document(base):
    embedder = QuerySideEmbedder(base)
    own, context = embedder.fit_context(CORPUS), base.fit_context(CORPUS)
    _, matrix = mean_and_matrix(context, base.closed_form.settings)
    documents, queries = embedder.encode_documents(CORPUS, own), embedder.encode_queries(QUERIES, own)
    assert documents.dtype == queries.dtype == np.float32
    for query, found in zip(plain(base, QUERIES, context, queries=True), queries, strict=True):
        whitened = matrix @ query
        twin = [whitened @ (matrix @ document) for document in plain(base, CORPUS, context)]
        np.testing.assert_allclose(documents @ found, twin / np.linalg.norm(matrix @ whitened), atol=1e-5)


def test_documents_are_the_plain_unit_vectors_of_the_base_under_every_context(base):
    embedder = QuerySideEmbedder(base)
    first, second = embedder.fit_context(CORPUS), embedder.fit_context(QUERIES)
    documents = embedder.encode_documents(CORPUS, first)
    np.testing.assert_allclose(documents, plain(base, CORPUS, base.fit_context(CORPUS)), atol=1e-6)
    np.testing.assert_array_equal(documents, embedder.encode_documents(CORPUS, second))
    assert np.abs(embedder.encode_queries(QUERIES, first) - embedder.encode_queries(QUERIES, second)).max() > 1e-3


def test_plain_documents_are_those_of_the_bi_encoder(make_encoder):
    embedder = QuerySideEmbedder(make_encoder())
    without = make_encoder(WhiteningConditioning(power=0.0))
    vectors = without.encode_documents(CORPUS, without.fit_context(CORPUS))
    np.testing.assert_allclose(embedder.encode_documents(CORPUS, embedder.fit_context(CORPUS)), vectors, atol=1e-6)


def test_without_power_queries_are_plain_too(make_encoder):
    embedder = QuerySideEmbedder(make_encoder(WhiteningConditioning(power=0.0)))
    context = embedder.fit_context(CORPUS)
    np.testing.assert_allclose(
        embedder.encode_queries(CORPUS, context), embedder.encode_documents(CORPUS, context), atol=1e-6
    )


def test_it_is_an_embedder_whose_contexts_are_its_own(base):
    embedder = QuerySideEmbedder(base)
    assert isinstance(embedder, Embedder)
    assert (embedder.name, embedder.width) == (base.name, base.width)
    assert embedder.vector_settings == VectorSettings(side="query")
    context, of_base = embedder.fit_context(CORPUS), base.fit_context(CORPUS)
    assert context.documents == of_base.documents
    assert context.fingerprint != of_base.fingerprint
    embedder.check_context(context)
    for other, mixed in ((embedder, of_base), (base, context)):
        for call in (
            lambda o=other, m=mixed: o.check_context(m),
            lambda o=other, m=mixed: o.encode_documents(CORPUS, m),
            lambda o=other, m=mixed: o.encode_queries(QUERIES, m),
        ):
            with pytest.raises(ContextMismatchError):
                call()


def test_plain_vectors_have_the_identity_of_what_they_depend_on(make_encoder, service):
    def identity(conditioning="whitening", **settings):
        return QuerySideEmbedder(make_encoder(conditioning, **settings)).plain_fingerprint

    assert identity() == identity(WhiteningConditioning(power=0.5)), "documents are the same with another power"
    assert identity() != identity(document_prompt="the ")

    def of_service(name, **settings):
        return QuerySideEmbedder(WhitenedEmbedder(name, service.embed_documents, **settings)).plain_fingerprint

    assert of_service("a") == of_service("a", power=0.5)
    assert of_service("a") != of_service("b")


def test_a_changed_service_is_noticed(service):
    base = WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)
    context = QuerySideEmbedder(base).fit_context(CORPUS)
    changed = PaidService(model="b")
    embedder = QuerySideEmbedder(WhitenedEmbedder("paid-1", changed.embed_documents, changed.embed_query))
    with pytest.raises(ContextMismatchError, match="has changed"):
        embedder.check_context(context)
    with pytest.raises(ContextMismatchError, match="has changed"):
        embedder.encode_queries(QUERIES, context)


def test_a_document_of_the_context_is_not_paid_for_again(service):
    base = WhitenedEmbedder("paid-1", service.embed_documents, service.embed_query)
    context = QuerySideEmbedder(base).fit_context(CORPUS)
    later = PaidService()
    again = QuerySideEmbedder(WhitenedEmbedder("paid-1", later.embed_documents, later.embed_query))
    again.encode_documents(CORPUS, context)
    assert later.bill == []


@pytest.mark.parametrize("conditioning", ["joint", "cached"])
def test_other_conditionings_are_refused(make_encoder, conditioning):
    with pytest.raises(ConfigurationError, match=r"closed form alone, and 'tiny' .* use side='both'"):
        QuerySideEmbedder(make_encoder(conditioning))


def test_any_other_embedder_is_refused():
    with pytest.raises(ConfigurationError, match="closed form alone"):
        QuerySideEmbedder(BagOfWords())


def test_nothing_is_embedded_of_nothing(base):
    embedder = QuerySideEmbedder(base)
    context = embedder.fit_context(CORPUS)
    for encode in (embedder.encode_documents, embedder.encode_queries):
        assert encode([], context).shape == (0, embedder.width)


def test_an_index_of_its_own_keeps_to_it(make_encoder, tmp_path):
    base = make_encoder()
    embedder = QuerySideEmbedder(base)
    context = embedder.fit_context(CORPUS)
    ContextualIndex.build(CORPUS, embedder, tmp_path / "index", context=context)
    with pytest.raises(ContextMismatchError, match="with the same settings"):
        ContextualIndex.open(tmp_path / "index", base)
    (hit,) = ContextualIndex.open(tmp_path / "index", embedder).search(CORPUS[3], k=1)
    assert hit.text == CORPUS[3]


def test_an_unknown_side_is_refused():
    with pytest.raises(ConfigurationError, match=r"side must be one of \['both', 'query'\], found 'document'"):
        VectorSettings(side="document")
