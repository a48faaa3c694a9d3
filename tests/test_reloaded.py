"""A model that is loaded by name at its first use, and must be the one it is taken for."""

import numpy as np
import pytest
from tiny import CORPUS, QUERIES

from cde_retrievers.embedder import Embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.reloaded import ReloadedEmbedder


@pytest.fixture
def encoder(make_encoder):
    return make_encoder()


def reloaded(encoder, loads):
    def load():
        loads.append("loaded")
        return encoder

    return ReloadedEmbedder(encoder.name, encoder.fingerprint, encoder.width, load)


def test_it_is_an_embedder_like_the_one_it_loads(encoder):
    twin = reloaded(encoder, [])
    assert isinstance(twin, Embedder)
    context = encoder.fit_context(CORPUS)
    assert twin.fit_context(CORPUS) == context
    np.testing.assert_array_equal(twin.first_stage_vectors(CORPUS[:2]), encoder.first_stage_vectors(CORPUS[:2]))
    np.testing.assert_array_equal(twin.encode_documents(CORPUS, context), encoder.encode_documents(CORPUS, context))
    np.testing.assert_array_equal(twin.encode_queries(QUERIES, context), encoder.encode_queries(QUERIES, context))


def test_the_model_is_loaded_once_and_not_before_it_is_used(encoder, make_encoder):
    loads = []
    twin, context = reloaded(encoder, loads), encoder.fit_context(CORPUS)
    twin.check_context(context)
    with pytest.raises(ContextMismatchError):
        twin.check_context(make_encoder(document_prompt="the ").fit_context(CORPUS))
    assert loads == []
    twin.encode_queries(QUERIES, context)
    twin.encode_queries(QUERIES, context)
    assert loads == ["loaded"]


def test_another_model_of_that_name_is_refused(encoder, make_encoder):
    other = make_encoder(document_prompt="the ")
    twin = ReloadedEmbedder("tiny", encoder.fingerprint, encoder.width, lambda: other)
    with pytest.raises(ContextMismatchError, match="'tiny' is another one here than where it was pickled"):
        twin.fit_context(CORPUS)
