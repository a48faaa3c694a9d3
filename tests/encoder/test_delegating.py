"""A model that is loaded by name at its first use, and must be the one it is taken for."""

import pickle
from functools import partial

import numpy as np
import pytest
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.encoder.delegating import LazyEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ContextMismatchError


@pytest.fixture
def encoder(make_encoder):
    return make_encoder()


def lazy(encoder, loads):
    def load():
        loads.append("loaded")
        return encoder

    return LazyEmbedder(encoder.name, encoder.fingerprint, encoder.width, load)


def test_it_is_an_embedder_like_the_one_it_loads(encoder):
    twin = lazy(encoder, [])
    assert isinstance(twin, Embedder)
    context = encoder.fit_context(CORPUS)
    assert twin.fit_context(CORPUS) == context
    np.testing.assert_array_equal(twin.first_stage_vectors(CORPUS[:2]), encoder.first_stage_vectors(CORPUS[:2]))
    np.testing.assert_array_equal(twin.encode_documents(CORPUS, context), encoder.encode_documents(CORPUS, context))
    np.testing.assert_array_equal(twin.encode_queries(QUERIES, context), encoder.encode_queries(QUERIES, context))


def test_the_model_is_loaded_once_and_not_before_it_is_used(encoder, make_encoder):
    loads = []
    twin, context = lazy(encoder, loads), encoder.fit_context(CORPUS)
    twin.check_context(context)
    with pytest.raises(ContextMismatchError):
        twin.check_context(make_encoder(document_prompt="the ").fit_context(CORPUS))
    assert loads == []
    twin.encode_queries(QUERIES, context)
    twin.encode_queries(QUERIES, context)
    assert loads == ["loaded"]


def test_another_model_of_that_name_is_refused(encoder, make_encoder):
    other = make_encoder(document_prompt="the ")
    twin = LazyEmbedder("tiny", encoder.fingerprint, encoder.width, lambda: other)
    with pytest.raises(ContextMismatchError, match="'tiny' differs here from the one that was pickled"):
        twin.fit_context(CORPUS)


def test_it_is_pickled_without_its_model(model_folder):
    loaded = ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")
    load = partial(ContextualEncoder.from_pretrained, model_folder, "cpu", "float32")
    twin = LazyEmbedder(loaded.name, loaded.fingerprint, loaded.width, load)
    context = twin.fit_context(CORPUS)
    written = pickle.dumps(twin)
    assert len(written) < 1_000
    expected = loaded.encode_documents(CORPUS[:3], context)
    np.testing.assert_array_equal(pickle.loads(written).encode_documents(CORPUS[:3], context), expected)


def test_a_width_that_is_not_known_is_that_of_the_model(encoder):
    loads = []
    assert lazy(encoder, loads).width == encoder.width
    assert loads == []
    assert LazyEmbedder("tiny", encoder.fingerprint, None, lambda: encoder).width == encoder.width


def test_a_load_that_failed_is_tried_again(encoder):
    answers = iter([OSError("the disk is away"), encoder])

    def load():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    twin = LazyEmbedder("tiny", encoder.fingerprint, encoder.width, load)
    with pytest.raises(OSError, match="away"):
        twin.fit_context(CORPUS)
    assert twin.fit_context(CORPUS) == encoder.fit_context(CORPUS)
