"""The contrastive loss against one written out with loops."""

import math

import pytest
import torch
from torch.testing import assert_close

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.losses.contrastive import ContrastiveLoss

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
QUERIES, NEGATIVES, WIDTH = 5, 2, 8


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    sizes = (QUERIES, QUERIES * (1 + NEGATIVES))
    return tuple(3 * torch.randn(size, WIDTH, generator=generator) for size in sizes)


@pytest.fixture
def left_out():
    mask = torch.rand(QUERIES, QUERIES * (1 + NEGATIVES), generator=torch.Generator().manual_seed(1)) < 0.3
    return mask.scatter(1, torch.arange(QUERIES)[:, None], False)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def written_out(queries, documents, left_out, temperature, width):
    """-log of the positive's share, query by query; and positive by positive over the queries."""
    queries, documents = queries[:, :width].tolist(), documents[:, :width].tolist()
    forth = back = 0.0
    for i in range(len(queries)):
        scores = [math.exp(cosine(queries[i], document) / temperature) for document in documents]
        kept = [score for j, score in enumerate(scores) if not left_out[i][j]]
        forth -= math.log(scores[i] / sum(kept)) / len(queries)
        scores = [math.exp(cosine(query, documents[i]) / temperature) for query in queries]
        kept = [score for j, score in enumerate(scores) if not left_out[j][i]]
        back -= math.log(scores[i] / sum(kept)) / len(queries)
    return forth, back


def test_a_learned_temperature_has_a_gradient_where_documents_are_left_out(embeddings, left_out):
    loss = ContrastiveLoss(temperature=0.1, learn_temperature=True)
    loss(*embeddings, left_out).loss.backward()
    step = 1e-3
    near = [ContrastiveLoss(temperature=0.1 * math.exp(-d))(*embeddings, left_out).loss for d in (step, -step)]
    assert_close(loss.log_scale.grad, (near[0] - near[1]) / (2 * step), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_it_is_the_mean_negative_log_likelihood_of_the_positives(temperature, embeddings, left_out):
    forth, _ = written_out(*embeddings, left_out, temperature, WIDTH)
    assert_close(float(ContrastiveLoss(temperature=temperature)(*embeddings, left_out).loss), forth, **TOLERANCE)


def test_symmetric_is_half_of_each_direction(embeddings, left_out):
    forth, back = written_out(*embeddings, left_out, 0.1, WIDTH)
    report = ContrastiveLoss(temperature=0.1, symmetric=True)(*embeddings, left_out)
    assert_close(float(report.loss), (forth + back) / 2, **TOLERANCE)


def test_matryoshka_is_a_weighted_sum_over_widths(embeddings, left_out):
    loss = ContrastiveLoss(temperature=0.1, matryoshka_dims=(8, 3), matryoshka_weights=(1.0, 0.25))
    parts = [written_out(*embeddings, left_out, 0.1, width)[0] for width in (8, 3)]
    assert_close(float(loss(*embeddings, left_out).loss), parts[0] + 0.25 * parts[1], **TOLERANCE)
    alone = ContrastiveLoss(temperature=0.1, matryoshka_dims=[3])
    assert_close(float(alone(*embeddings, left_out).loss), parts[1], **TOLERANCE)


def test_a_positive_counts_whatever_the_mask_says(embeddings, left_out):
    loss = ContrastiveLoss(symmetric=True)
    everything = torch.ones_like(left_out)
    report = loss(*embeddings, everything)
    assert float(report.loss) == 0
    assert float(report.masked_share) == 1
    covered = left_out.scatter(1, torch.arange(QUERIES)[:, None], True)
    assert_close(loss(*embeddings, covered).loss, loss(*embeddings, left_out).loss)


def test_what_is_left_out_has_no_gradient(embeddings, left_out):
    queries, documents = (part.requires_grad_() for part in embeddings)
    left_out[:, 7] = True
    ContrastiveLoss()(queries, documents, left_out).loss.backward()
    assert not documents.grad[7].any()
    assert documents.grad.isfinite().all()
    assert documents.grad[:QUERIES].any(dim=1).all()


def test_it_is_in_float32_whatever_comes_in(embeddings, left_out):
    coarse = [part.bfloat16() for part in embeddings]
    expected = ContrastiveLoss()(*(part.float() for part in coarse), left_out).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = ContrastiveLoss()(*coarse, left_out)
    assert report.loss.dtype == torch.float32
    assert_close(report.loss, expected, atol=0, rtol=0)


def test_embeddings_need_not_be_normalised(embeddings):
    loss = ContrastiveLoss()
    assert_close(loss(embeddings[0] * 100, embeddings[1] / 7).loss, loss(*embeddings).loss)


def test_accuracy_counts_the_queries_whose_positive_is_first():
    documents = torch.eye(4)
    queries = documents[[0, 1, 3, 3]]
    report = ContrastiveLoss()(queries, documents)
    assert float(report.accuracy) == 0.75
    # The third query's positive comes second, after a document that is left out.
    queries = queries + 0.1 * documents
    assert float(ContrastiveLoss()(queries, documents).accuracy) == 0.75
    left_out = torch.zeros(4, 4, dtype=torch.bool)
    left_out[2, 3] = True
    assert float(ContrastiveLoss()(queries, documents, left_out).accuracy) == 1


def test_masked_share_is_of_the_negatives(embeddings, left_out):
    negatives = QUERIES * (QUERIES * (1 + NEGATIVES) - 1)
    assert_close(float(ContrastiveLoss()(*embeddings, left_out).masked_share), int(left_out.sum()) / negatives)
    assert float(ContrastiveLoss()(*embeddings).masked_share) == 0
    assert float(ContrastiveLoss()(embeddings[0][:1], embeddings[1][:1]).masked_share) == 0


def test_a_fixed_temperature_is_no_parameter_and_a_learned_one_is():
    assert list(ContrastiveLoss().parameters()) == []
    assert [p.shape for p in ContrastiveLoss(learn_temperature=True).parameters()] == [()]


def test_a_learned_temperature_gives_the_same_loss_and_follows_its_gradient(embeddings):
    loss = ContrastiveLoss(temperature=0.1, learn_temperature=True)
    fixed = ContrastiveLoss(temperature=0.1)(*embeddings).loss
    value = loss(*embeddings).loss
    assert_close(value, fixed)
    value.backward()
    torch.optim.SGD(loss.parameters(), lr=0.01).step()
    assert loss.temperature != pytest.approx(0.1, abs=1e-6)
    assert loss(*embeddings).loss < fixed


@pytest.mark.parametrize(("temperature", "limit"), [(1e-4, 0.01), (50.0, 1.0)])
def test_a_learned_temperature_comes_back_into_its_range_with_a_gradient(temperature, limit, embeddings):
    loss = ContrastiveLoss(learn_temperature=True)
    with torch.no_grad():
        loss.log_scale.fill_(-math.log(temperature))
    loss(*embeddings).loss.backward()
    assert loss.temperature == pytest.approx(limit)
    assert loss.log_scale.grad != 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, r"give a number above 0"),
        ({"temperature": float("nan")}, r"temperature is nan"),
        ({"temperature": float("inf")}, r"temperature is inf"),
        ({"temperature": 0.001, "learn_temperature": True}, r"from 0\.01 to 1\.0 if it is to be learned"),
        ({"matryoshka_dims": (8, 8)}, r"distinct widths"),
        ({"matryoshka_dims": (8, 0)}, r"at least 1"),
        ({"matryoshka_dims": (8, 4), "matryoshka_weights": (1.0,)}, r"one above 0 for each"),
        ({"matryoshka_dims": (8, 4), "matryoshka_weights": (1.0, -1.0)}, r"one above 0 for each"),
        ({"matryoshka_weights": (1.0,)}, r"for 0 matryoshka_dims"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ContrastiveLoss(**settings)


def test_widths_beyond_the_embeddings_are_refused(embeddings):
    with pytest.raises(ConfigurationError, match=r"matryoshka_dims has 16, but embeddings have 8 components"):
        ContrastiveLoss(matryoshka_dims=(16, 8))(*embeddings)


@pytest.mark.parametrize(
    ("rows", "mask", "message"),
    [
        ((0, 0), None, r"0 documents do not go with 0 queries"),
        ((4, 6), None, r"6 documents do not go with 4 queries"),
        ((4, 0), None, r"0 documents do not go with 4 queries"),
        ((4, 8), torch.zeros(4, 4, dtype=torch.bool), r"left_out must be bool \(4, 8\).*found torch\.bool \(4, 4\)"),
        ((4, 8), torch.zeros(4, 8), r"found torch\.float32"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(rows, mask, message):
    with pytest.raises(TrainingDataError, match=message):
        ContrastiveLoss()(torch.ones(rows[0], 8), torch.ones(rows[1], 8), mask)


def test_what_is_left_out_leaves_a_learned_temperature_its_gradient(embeddings, left_out):
    loss = ContrastiveLoss(temperature=0.1, learn_temperature=True)
    loss(*embeddings, left_out).loss.backward()
    (learned,) = loss.parameters()
    slope, sides = learned.grad.clone(), []
    for change in (1e-2, -2e-2):
        with torch.no_grad():
            learned.add_(change)
            sides.append(loss(*embeddings, left_out).loss)
    assert_close(slope, (sides[0] - sides[1]) / 2e-2, atol=1e-3, rtol=1e-3)
