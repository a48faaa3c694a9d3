"""The null vector and sequence dropout: against contexts in which it was put in by hand."""

import pytest
import torch
from tiny import CORPUS, QUERIES, build_tokenizer
from torch.testing import assert_close

from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import CachedConditioning, JointConditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.second_stage import drop_vectors

TOLERANCE = {"atol": 1e-5, "rtol": 0}
CONTEXT = 6


@pytest.fixture
def batch():
    tokenizer = TextTokenizer(build_tokenizer(), 32, 0)
    return tokenizer.pad(tokenizer.encode([*QUERIES, *CORPUS[:4]]))


@pytest.fixture
def context():
    return torch.randn(CONTEXT, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(
    params=[JointConditioning(null_vector=True), CachedConditioning(null_vector=True)], ids=lambda c: c.kind
)
def model(request, make_model):
    model = make_model(request.param)
    with torch.no_grad():
        model.second_stage.null_vector.copy_(torch.randn(32, generator=torch.Generator().manual_seed(4)))
    return model


def embed(second, batch, context, probability):
    return second.embed(*batch, second.prepare(context, sequence_dropout=probability))


def test_sequence_dropout_puts_the_null_vector_in(model, batch, context):
    second, joint = model.second_stage, model.config.conditioning.kind == "joint"
    torch.manual_seed(0)
    actual = embed(second, batch, context, 0.4)
    torch.manual_seed(0)
    # Drawn for every text under joint conditioning, once for all under cached.
    dropped = torch.rand(len(batch[0]) if joint else 1, CONTEXT) < 0.4
    assert 0 < dropped.float().mean() < 1
    contexts = torch.where(dropped[..., None], second.null_vector, context)
    assert_close(actual, second(*batch, contexts if joint else contexts[0]), **TOLERANCE)


def test_sequence_dropout_that_drops_all_is_the_null_context(model, batch, context):
    almost_always = 1 - 1e-9
    expected = model.second_stage(*batch, context, null_context=True)
    assert_close(embed(model.second_stage, batch, context, almost_always), expected, **TOLERANCE)
    assert (expected - model.second_stage(*batch, context)).abs().max() > 1e-2


def test_the_null_context_is_the_null_vector_in_every_place(model, batch, context):
    second = model.second_stage
    expected = second(*batch, second.null_vector.expand(CONTEXT, -1))
    assert_close(second(*batch, context, null_context=True), expected, **TOLERANCE)


def test_without_sequence_dropout_no_random_number_is_drawn(model, batch, context):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    embed(model.second_stage, batch, context, 0.0)
    assert torch.equal(torch.rand(3), expected)


def test_how_many_are_dropped():
    vectors = drop_vectors(torch.ones(200, 100, 2), torch.zeros(2), 0.25)
    assert float((vectors == 0).all(dim=2).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_the_graph_does_not_depend_on_what_was_drawn():
    null_vector = torch.zeros(2, requires_grad=True)
    drop_vectors(torch.ones(1, 3, 2), null_vector, 1e-12).sum().backward()
    assert torch.equal(null_vector.grad, torch.zeros(2))


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = ContextualModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.second_stage.null_vector, model.second_stage.null_vector)
    assert loaded.fingerprint() == model.fingerprint()


def test_a_cached_model_saved_without_one_is_loaded_without_one(make_model, tmp_path):
    make_model("cached").save(tmp_path / "model")
    assert ContextualModel.from_pretrained(tmp_path / "model").second_stage.null_vector is None


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_what_is_no_probability_is_refused(probability, model, context):
    with pytest.raises(ConfigurationError, match=r"sequence_dropout must be a probability"):
        model.second_stage.prepare(context, sequence_dropout=probability)


def test_a_model_without_one_refuses_what_needs_one(conditioning, make_model, batch, context):
    second = make_model(conditioning).second_stage
    with pytest.raises(ConfigurationError, match=r"this model has no null vector"):
        second.prepare(context, sequence_dropout=0.1)
    with pytest.raises(ConfigurationError, match=r"this model has no null vector"):
        second(*batch, context, null_context=True)
