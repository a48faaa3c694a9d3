"""Gradients through the cache against those of the plain graph, for every parameter of both stages."""

import pytest
import torch
from steps import furthest, gradients_of, make_step

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import CachedConditioning, JointConditioning, WhiteningConditioning
from cde_retrievers.training.contrastive_model import ContrastiveModel
from cde_retrievers.training.losses import two_stage
from cde_retrievers.training.losses.contrastive import ContrastiveLoss
from cde_retrievers.training.losses.rng_state import RngState

TOLERANCE = 1e-5
CONDITIONINGS = [
    JointConditioning(soft_prompt_tokens=3, null_vector=True),
    CachedConditioning(null_vector=True),
    WhiteningConditioning(power=0),
    WhiteningConditioning(power=0.5),
    CachedConditioning(null_vector=True, whitening_power=0.3),
]
with_context = pytest.mark.parametrize("conditioning", CONDITIONINGS[:2], ids=lambda c: c.kind)
every = pytest.mark.parametrize("conditioning", CONDITIONINGS, ids=lambda c: f"{c.kind}{getattr(c, 'power', '')}")


@pytest.fixture
def objective(make_model):
    def make(conditioning, *, dropout, **settings):
        model = make_model(conditioning)
        # A leaf's gradient tells nothing where it is zero, as that of a null vector nobody draws.
        drops = dropout and conditioning.kind != "whitening"
        settings = {"chunk_size": 3, "sequence_dropout": 0.3 if drops else 0.0, **settings}
        return ContrastiveModel(model, ContrastiveLoss(temperature=0.5), **settings).train(dropout)

    return make


@pytest.fixture
def without_cache(monkeypatch):
    """The same chunks in the same order, so the same random numbers, in one plain graph."""

    def plain(run, chunks, shared, parameters):
        return torch.cat([run(chunk, shared) for chunk in chunks])

    def switch():
        monkeypatch.setattr(two_stage, "gradient_cached", plain)

    return switch


def step_for(conditioning):
    reads = getattr(conditioning, "power", 1) > 0
    return make_step(slice(0, 10), context=slice(3, 10) if reads else None)


@every
def test_they_are_those_of_the_plain_graph(conditioning, objective):
    cached, plain = objective(conditioning, dropout=False), objective(conditioning, dropout=False, chunk_size=None)
    step = step_for(conditioning)
    assert furthest(gradients_of(cached, step), gradients_of(plain, step)) < TOLERANCE
    assert torch.equal(cached(**step)["accuracy"], plain(**step)["accuracy"])


@every
def test_they_are_with_dropout_on(conditioning, objective, without_cache):
    model, step = objective(conditioning, dropout=True), step_for(conditioning)
    actual = gradients_of(model, step)
    without_cache()
    expected = gradients_of(model, step)
    assert furthest(actual, expected) < TOLERANCE
    assert furthest(gradients_of(model, step, seed=1), expected) > 1e-2


@with_context
@pytest.mark.parametrize("dropout", [False, True])
def test_they_are_under_autocast(dropout, conditioning, objective, without_cache):
    model, step = objective(conditioning, dropout=dropout), step_for(conditioning)
    # Without its cache of weights, through which a plain graph would sum gradients in bfloat16.
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        actual = gradients_of(model, step)
        without_cache()
        expected = gradients_of(model, step)
    assert furthest(actual, expected) < TOLERANCE
    assert furthest(gradients_of(model, step), expected) > 1e-4


@with_context
def test_autocasts_own_cache_of_weights_does_no_harm(conditioning, objective):
    model, step = objective(conditioning, dropout=True), step_for(conditioning)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        expected = gradients_of(model, step)
    model.zero_grad()
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**step)["loss"]
        loss.backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    # The context is prepared once, outside the chunks, where that cache rounds sums to bfloat16.
    assert furthest(found, expected) < 5e-3


@every
@pytest.mark.parametrize("chunk_size", [1, 4, 100])
def test_they_are_for_any_chunk_size(chunk_size, conditioning, objective):
    step = step_for(conditioning)
    actual = gradients_of(objective(conditioning, dropout=False, chunk_size=chunk_size), step)
    expected = gradients_of(objective(conditioning, dropout=False, chunk_size=None), step)
    assert furthest(actual, expected) < TOLERANCE


@with_context
@pytest.mark.parametrize("enable", ["activation_checkpointing_enable", "gradient_checkpointing_enable"])
def test_they_are_under_activation_checkpointing(enable, conditioning, objective, without_cache):
    plain, model = objective(conditioning, dropout=True), objective(conditioning, dropout=True)
    step = step_for(conditioning)
    getattr(model, enable)(None, every_n_layers=1)
    for stage in (model.model.first_stage, model.model.second_stage):
        assert all(layer.gradient_checkpointing for layer in stage.backbone.encoder.layer)
    through_the_cache = gradients_of(model, step)
    without_cache()
    expected = gradients_of(plain, step)
    assert furthest(through_the_cache, expected) < TOLERANCE
    assert furthest(gradients_of(model, step), expected) < TOLERANCE


def test_reentrant_checkpointing_is_refused(objective):
    model = objective(CONDITIONINGS[1], dropout=False)
    with pytest.raises(ConfigurationError, match=r"set use_reentrant to False"):
        model.activation_checkpointing_enable({"use_reentrant": True})


@with_context
def test_they_are_wrong_without_the_random_states(conditioning, objective, without_cache, monkeypatch):
    model, step = objective(conditioning, dropout=True), step_for(conditioning)
    with monkeypatch.context() as cut:
        cut.setattr(RngState, "restore", lambda self: None)
        actual = gradients_of(model, step)
    without_cache()
    assert furthest(actual, gradients_of(model, step)) > 1e-2


@with_context
def test_random_numbers_outside_go_on_as_if_nothing_were_replayed(conditioning, objective, without_cache):
    model, step = objective(conditioning, dropout=True), step_for(conditioning)
    gradients_of(model, step)
    after = torch.rand(4)
    without_cache()
    gradients_of(model, step)
    assert torch.equal(torch.rand(4), after)


@with_context
def test_they_scale_with_the_loss(conditioning, objective):
    model, step = objective(conditioning, dropout=True), step_for(conditioning)
    expected = gradients_of(model, step)
    model.zero_grad()
    torch.manual_seed(0)
    (model(**step)["loss"] * 1024).backward()
    scaled = {name: None if p.grad is None else p.grad / 1024 for name, p in model.named_parameters()}
    assert furthest(scaled, expected) < TOLERANCE


@with_context
def test_they_add_up_over_steps(conditioning, objective):
    model = objective(conditioning, dropout=False)
    steps = [make_step(slice(0, 5)), make_step(slice(5, 12))]
    apart = [gradients_of(model, step) for step in steps]
    model.zero_grad()
    for step in steps:
        model(**step)["loss"].backward()
    together = {name: p.grad for name, p in model.named_parameters()}
    summed = {name: None if g is None else g + apart[1][name] for name, g in apart[0].items()}
    assert furthest(together, summed) < TOLERANCE


@with_context
def test_every_parameter_gets_one(conditioning, objective):
    found = gradients_of(objective(conditioning, dropout=True), step_for(conditioning))
    silent = [name for name, gradient in found.items() if gradient is None or not gradient.any()]
    # A key's bias shifts all scores of a row alike, which softmax ignores; nothing reads the second token type.
    assert [name for name in silent if not name.endswith("attention.self.key.bias")] == []


@with_context
def test_a_frozen_first_stage_gets_none_and_gives_vectors_without_dropout(conditioning, objective):
    model, step = objective(conditioning, dropout=True, train_first_stage=False), step_for(conditioning)
    from_tokens = gradients_of(model, step)
    assert all(from_tokens[name] is None for name in from_tokens if name.startswith("model.first_stage"))
    with torch.no_grad():
        vectors = model.model.first_stage(step.pop("context_input_ids"), step.pop("context_attention_mask"))
    # The tokens' first stage ran in chunks, which drew no random numbers: the texts' dropout is the same.
    assert furthest(gradients_of(model, {**step, "context_vectors": vectors}), from_tokens) < TOLERANCE


def test_weights_changed_before_the_backward_pass_are_noticed(objective):
    model = objective(CONDITIONINGS[0], dropout=False)
    loss = model(**make_step(slice(0, 4)))["loss"]
    with torch.no_grad():
        model.model.first_stage.backbone.embeddings.word_embeddings.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_loop_of_ones_own_trains_both_stages(make_model):
    model = make_model("joint").train()
    step = make_step(slice(0, 8))
    queries, documents, context = (
        (step[f"{name}_input_ids"], step[f"{name}_attention_mask"]) for name in ("query", "document", "context")
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    torch.manual_seed(0)
    for _ in range(15):
        optimiser.zero_grad()
        embeddings = two_stage.two_stage_embeddings(model, [queries, documents], context, chunk_size=3)
        report = ContrastiveLoss(temperature=0.1)(*embeddings)
        report.loss.backward()
        optimiser.step()
        losses.append(float(report.loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
