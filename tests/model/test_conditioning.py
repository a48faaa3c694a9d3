"""Each conditioning against a slow twin that embeds one text at a time."""

import numpy as np
import pytest
import reference
import torch
from tiny import CORPUS, QUERIES, build_tokenizer
from torch.nn.functional import normalize
from torch.testing import assert_close

from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import CachedConditioning, JointConditioning, WhiteningConditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.whitening import fit_whitening

TOLERANCE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def rows():
    """Token ids of texts of different lengths, one array each."""
    return TextTokenizer(build_tokenizer(), 32, 0).encode([*QUERIES, *CORPUS[:4]])


@pytest.fixture
def batch(rows):
    return TextTokenizer(build_tokenizer(), 32, 0).pad(rows)


@pytest.fixture
def context():
    return torch.randn(6, 32, generator=torch.Generator().manual_seed(3))


def each(function, *arguments):
    return torch.stack([function(*a) for a in zip(*arguments, strict=True)])


def test_first_stage_equals_the_plain_biencoder(make_model, rows, batch):
    stage = make_model("whitening").first_stage
    expected = torch.stack([reference.biencoder(stage.backbone, torch.tensor(row)) for row in rows])
    assert_close(stage(*batch), expected, **TOLERANCE)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("kind", ["joint", "cached"])
def test_second_stage_equals_the_hand_written_forward(kind, gradients, make_model, rows, batch, context):
    second = make_model(kind).second_stage
    twin = getattr(reference, kind)
    with torch.set_grad_enabled(gradients):
        expected = torch.stack([twin(second, torch.tensor(row), context) for row in rows])
        assert_close(second(*batch, context), expected, **TOLERANCE)


def test_joint_runs_the_context_through_its_first_stage_projection(make_model, batch):
    stage = make_model("joint").first_stage
    pooled = make_model("whitening").first_stage(*batch)
    hidden = torch.nn.functional.gelu(stage.mlp[0](pooled))
    assert_close(stage(*batch), stage.mlp[2](hidden), **TOLERANCE)


def test_cached_under_an_open_gate_is_attention_under_the_one_way_mask(make_model, rows, batch, context):
    second = make_model("cached").second_stage
    with torch.no_grad():
        second.gate.fill_(20.0)  # tanh(20) is 1 in float32
    prefix = reference.embed_vectors(second.backbone, second.context_projection(context))
    for embedding, row in zip(second(*batch, context), rows, strict=True):
        sequence = torch.cat([prefix, reference.embed_tokens(second.backbone, torch.tensor(row))])
        text = torch.arange(len(sequence)) >= len(prefix)
        states = reference.bert_layers(second.backbone, sequence, ~(~text[:, None] & text[None, :]))
        assert_close(embedding, states[text].mean(dim=0), **TOLERANCE)


def whitened_by_svd(plain, context, power, shrinkage):
    """normalise(S^(-p/2)(e - m)) through the singular values of the context instead of its covariance."""
    unit = context / np.linalg.norm(context, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    _, singular, directions = np.linalg.svd((unit - mean) / np.sqrt(len(unit)), full_matrices=True)
    variances = np.zeros(unit.shape[1])
    variances[: len(singular)] = singular**2
    scale = (variances + shrinkage * variances.mean()) ** (-power / 2)
    whitened = ((plain - mean) @ directions.T * scale) @ directions
    return whitened / np.linalg.norm(whitened, axis=1, keepdims=True)


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", [6, 200])
def test_whitening_equals_its_definition(power, size, make_model, batch):
    model = make_model(WhiteningConditioning(power=power, shrinkage=0.1))
    context = torch.randn(size, 32, generator=torch.Generator().manual_seed(3)) + 0.5
    plain = normalize(model.first_stage(*batch), dim=-1)
    expected = whitened_by_svd(plain.detach().double().numpy(), context.double().numpy(), power, 0.1)
    actual = normalize(model.second_stage(*batch, context), dim=-1)
    assert_close(actual, torch.from_numpy(expected).float(), **TOLERANCE)


def test_full_whitening_gives_the_context_unit_covariance():
    context = torch.randn(5_000, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 8)
    whiten = fit_whitening(context, power=1.0, shrinkage=1e-6)
    assert_close(torch.cov(whiten(normalize(context, dim=-1)).T, correction=0), torch.eye(8), atol=1e-3, rtol=0)


def test_whitening_counts_repeated_documents_once(context):
    once = fit_whitening(context, 0.5, 0.1)
    repeated = fit_whitening(context[[0, 1, 2, 3, 4, 5, 0, 1, 0]], 0.5, 0.1)
    assert_close(once.mean, repeated.mean)
    assert_close(once.matrix, repeated.matrix)


def test_whitening_of_identical_vectors_stays_finite():
    whiten = fit_whitening(torch.ones(4, 8), 1.0, 0.1)
    assert torch.isfinite(whiten(torch.eye(8))).all()


def test_whitening_at_power_zero_is_exactly_the_biencoder(make_model, batch, context):
    model = make_model(WhiteningConditioning(power=0))
    assert torch.equal(model.second_stage(*batch, context), normalize(model.first_stage(*batch), dim=-1))


@pytest.mark.parametrize("gradients", [True, False])
def test_cached_from_a_biencoder_is_exactly_the_biencoder(gradients, biencoder_folder, batch, context):
    model = ContextualModel.from_biencoder(biencoder_folder, "cached")
    with torch.set_grad_enabled(gradients):
        assert torch.equal(model.second_stage(*batch, context), model.first_stage(*batch))


def test_joint_from_a_biencoder_adds_nothing_to_what_it_pools(biencoder_folder, batch, context):
    second = ContextualModel.from_biencoder(biencoder_folder, "joint").second_stage
    assert not second.output_projection(torch.randn(3, 32)).any()


def test_context_changes_the_embedding(conditioning, make_model, batch, context):
    second = make_model(conditioning).second_stage
    assert (second(*batch, context) - second(*batch, 2 - context)).abs().max() > 1e-2


def test_order_of_context_does_not_matter(conditioning, make_model, batch, context):
    second = make_model(conditioning).second_stage
    assert_close(second(*batch, context.flip(0)), second(*batch, context), atol=1e-5, rtol=0)


def test_one_context_per_text(conditioning, make_model, batch, context):
    second = make_model(conditioning).second_stage
    contexts = torch.stack([context + i for i in range(len(batch[0]))])
    expected = torch.cat([second(ids[None], mask[None], c) for ids, mask, c in zip(*batch, contexts, strict=True)])
    assert_close(second(*batch, contexts), expected, **TOLERANCE)


def test_padding_changes_nothing(conditioning, make_model, batch, context):
    second = make_model(conditioning).second_stage
    wider = [torch.nn.functional.pad(part, (0, 5)) for part in batch]
    assert_close(second(*wider, context), second(*batch, context), **TOLERANCE)


@pytest.mark.parametrize("shape", [(32,), (6, 31), (1, 1, 6, 32)])
def test_context_of_the_wrong_shape_is_refused(shape, conditioning, make_model, batch):
    with pytest.raises(ConfigurationError, match=r"must be \(N, 32\) or \(B, N, 32\), found"):
        make_model(conditioning).second_stage(*batch, torch.zeros(shape))


@pytest.mark.parametrize("options", [JointConditioning(soft_prompt_tokens=3), CachedConditioning()])
def test_gradients_reach_both_stages(options, make_model, batch):
    model = make_model(options).train()
    vectors = model.first_stage(*batch)
    model.second_stage(*batch, vectors).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias shifts all scores of a row alike, which softmax ignores; nothing reads the second token type.
    assert [n for n in silent if not n.endswith("attention.self.key.bias")] == []


def test_gradients_open_the_gate_first_and_then_reach_everything(biencoder_folder, batch):
    model = ContextualModel.from_biencoder(biencoder_folder, "cached")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.randn(len(batch[0]), 32, generator=torch.Generator().manual_seed(0))

    def step():
        optimiser.zero_grad()
        (model(*batch, *batch) * target).sum().backward()
        return {name: bool(p.grad.any()) for name, p in model.named_parameters() if p.grad is not None}

    reached = step()
    assert reached["second_stage.gate"]
    assert reached["second_stage.backbone.encoder.layer.0.output.dense.weight"]
    optimiser.step()
    reached = step()
    assert reached["second_stage.context_projection.weight"]
    assert reached["first_stage.backbone.encoder.layer.0.output.dense.weight"]


def test_soft_prompt_has_one_row_per_token(make_model):
    second = make_model(JointConditioning(soft_prompt_tokens=3)).second_stage
    assert second.soft_prompt().shape == (3, 32)


WHITENED = CachedConditioning(null_vector=True, whitening_power=0.4, whitening_shrinkage=0.3)


def test_cached_whitens_what_it_embeds_by_the_statistics_of_the_context(make_model, rows, batch, context):
    second = make_model(WHITENED).second_stage
    plain = torch.stack([reference.cached(second, torch.tensor(row), context) for row in rows]).detach()
    unit = normalize(plain, dim=-1).numpy()
    expected = whitened_by_svd(unit, context.numpy(), power=0.4, shrinkage=0.3)
    assert_close(normalize(second(*batch, context), dim=-1).detach().numpy(), expected.astype("float32"), **TOLERANCE)


def test_whitened_cached_from_a_biencoder_is_the_biencoder_whitened(biencoder_folder, batch, context):
    model = ContextualModel.from_biencoder(biencoder_folder, WHITENED)
    closed_form = ContextualModel.from_biencoder(biencoder_folder, WhiteningConditioning(power=0.4, shrinkage=0.3))
    assert_close(model.second_stage(*batch, context), closed_form.second_stage(*batch, context), **TOLERANCE)


def test_no_context_is_not_whitened(make_model, batch, context):
    second = make_model(WHITENED).second_stage
    null = second(*batch, context, null_context=True)
    plain = make_model(CachedConditioning(null_vector=True)).second_stage
    plain.load_state_dict(second.state_dict())
    assert_close(null, normalize(plain(*batch, context, null_context=True), dim=-1), **TOLERANCE)


def test_sequence_dropout_does_not_reach_the_statistics(make_model, context):
    second = make_model(WHITENED).second_stage
    dropped, whole = second.prepare(context, sequence_dropout=0.9), second.prepare(context)
    assert torch.equal(dropped.whitening.matrix, whole.whitening.matrix)
    assert not torch.equal(dropped.layers[0].keys, whole.layers[0].keys)
