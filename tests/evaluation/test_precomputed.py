"""A corpus embedded once, against the encoder that embeds it under every context."""

import numpy as np
import pytest
from searched import ANIMALS, OTHERS

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.evaluation import BM25, compare, context_matrix
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder, embedded_once

QUERIES = tuple(ANIMALS.judged.queries.values())
PROMPTS = {"query_prompt": "query: ", "document_prompt": "document: "}


@pytest.fixture(params=[{}, PROMPTS], ids=["no prompts", "prompts"])
def encoder(make_encoder, request):
    return make_encoder("whitening", **request.param)


@pytest.fixture
def embedded_texts(encoder, monkeypatch):
    """How many texts went through the encoder's layers."""
    runs, run = [], encoder._runner.run
    monkeypatch.setattr(
        encoder._runner, "run", lambda texts, *a, **k: (runs.append(len(texts)), run(texts, *a, **k))[1]
    )
    return lambda: sum(runs)


@pytest.mark.parametrize(
    ("texts", "choice"),
    [(ANIMALS.texts, {}), (ANIMALS.texts, {"size": 5, "strategy": "kmeans", "seed": 3}), (OTHERS.texts, {"seed": 1})],
)
def test_contexts_and_embeddings_are_the_encoders(encoder, texts, choice):
    once = PrecomputedEmbedder(encoder, ANIMALS)
    assert isinstance(once, Embedder)
    context, expected = once.fit_context(texts, **choice), encoder.fit_context(texts, **choice)
    for field in ("model_name", "model_fingerprint", "documents", "positions", "distinct", "corpus_size"):
        assert getattr(context, field) == getattr(expected, field)
    assert (context.strategy, context.seed) == (expected.strategy, expected.seed)
    np.testing.assert_allclose(context.vectors, expected.vectors, atol=1e-6)
    for role in ("encode_documents", "encode_queries"):
        for asked in (ANIMALS.texts, QUERIES, OTHERS.texts, ["once", *QUERIES, "once"], []):
            found, alone = (getattr(each, role)(asked, expected) for each in (once, encoder))
            np.testing.assert_allclose(found, alone, atol=1e-5)


def test_no_text_is_embedded_twice(encoder, embedded_texts):
    once = PrecomputedEmbedder(encoder, ANIMALS)
    once.biencoder_vectors(OTHERS.texts, "")
    before = embedded_texts()
    once.biencoder_vectors([*OTHERS.texts[::-1], *OTHERS.texts], "")
    once.first_stage_vectors(ANIMALS.texts)
    assert embedded_texts() == before


def test_another_models_context_is_refused(encoder, make_encoder):
    context = make_encoder("cached").fit_context(ANIMALS.texts)
    with pytest.raises(ContextMismatchError):
        PrecomputedEmbedder(encoder, ANIMALS).encode_documents(ANIMALS.texts, context)


def test_other_models_than_the_closed_form_are_left_as_they_are(make_encoder):
    encoder = make_encoder("cached")
    assert embedded_once(encoder, ANIMALS) is encoder


def test_comparing_embeds_the_corpus_once_and_of_other_corpora_their_contexts_alone(encoder, embedded_texts):
    compare(encoder, ANIMALS, foreign=[OTHERS], seeds=[1, 2], sizes=[4, 8], strategies=["kmeans"], others=[BM25()])
    context = min(encoder.config.context_size, len(set(OTHERS.texts)))
    assert embedded_texts() == len(ANIMALS.texts) + len(QUERIES) + context


def test_a_matrix_embeds_every_corpus_once_and_its_context_once_more(encoder, embedded_texts):
    context_matrix(encoder, [ANIMALS, OTHERS])
    contexts = sum(min(encoder.config.context_size, len(set(data.texts))) for data in (ANIMALS, OTHERS))
    searched = sum(len(data.texts) + len(data.judged.queries) for data in (ANIMALS, OTHERS))
    assert embedded_texts() == contexts + searched
