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
def excluded():
    mask = torch.rand(QUERIES, QUERIES * (1 + NEGATIVES), generator=torch.Generator().manual_seed(1)) < 0.3
    return mask.scatter(1, torch.arange(QUERIES)[:, None], False)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def written_out(queries, documents, excluded, temperature, width):
    """-log of the positive's share, query by query."""
    queries, documents = queries[:, :width].tolist(), documents[:, :width].tolist()
    loss = 0.0
    for i in range(len(queries)):
        scores = [math.exp(cosine(queries[i], document) / temperature) for document in documents]
        kept = [score for j, score in enumerate(scores) if not excluded[i][j]]
        loss -= math.log(scores[i] / sum(kept)) / len(queries)
    return loss


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_it_is_the_mean_negative_log_likelihood_of_the_positives(temperature, embeddings, excluded):
    expected = written_out(*embeddings, excluded, temperature, WIDTH)
    assert_close(float(ContrastiveLoss(temperature=temperature)(*embeddings, excluded).loss), expected, **TOLERANCE)


def test_matryoshka_is_a_sum_over_widths(embeddings, excluded):
    loss = ContrastiveLoss(temperature=0.1, matryoshka_dims=(8, 3))
    parts = [written_out(*embeddings, excluded, 0.1, width) for width in (8, 3)]
    assert_close(float(loss(*embeddings, excluded).loss), sum(parts), **TOLERANCE)
    alone = ContrastiveLoss(temperature=0.1, matryoshka_dims=[3])
    assert_close(float(alone(*embeddings, excluded).loss), parts[1], **TOLERANCE)


def test_a_positive_counts_whatever_the_mask_says(embeddings, excluded):
    loss = ContrastiveLoss()
    everything = torch.ones_like(excluded)
    report = loss(*embeddings, everything)
    assert float(report.loss) == 0
    assert float(report.masked_share) == 1
    covered = excluded.scatter(1, torch.arange(QUERIES)[:, None], True)
    assert_close(loss(*embeddings, covered).loss, loss(*embeddings, excluded).loss)


def test_what_is_excluded_has_no_gradient(embeddings, excluded):
    queries, documents = (part.requires_grad_() for part in embeddings)
    excluded[:, 7] = True
    ContrastiveLoss()(queries, documents, excluded).loss.backward()
    assert not documents.grad[7].any()
    assert documents.grad.isfinite().all()
    assert documents.grad[:QUERIES].any(dim=1).all()


def test_it_is_in_float32_whatever_comes_in(embeddings, excluded):
    coarse = [part.bfloat16() for part in embeddings]
    expected = ContrastiveLoss()(*(part.float() for part in coarse), excluded).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = ContrastiveLoss()(*coarse, excluded)
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
    excluded = torch.zeros(4, 4, dtype=torch.bool)
    excluded[2, 3] = True
    assert float(ContrastiveLoss()(queries, documents, excluded).accuracy) == 1


def test_masked_share_is_of_the_negatives(embeddings, excluded):
    negatives = QUERIES * (QUERIES * (1 + NEGATIVES) - 1)
    assert_close(float(ContrastiveLoss()(*embeddings, excluded).masked_share), int(excluded.sum()) / negatives)
    assert float(ContrastiveLoss()(*embeddings).masked_share) == 0
    assert float(ContrastiveLoss()(embeddings[0][:1], embeddings[1][:1]).masked_share) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, r"give a number above 0"),
        ({"temperature": float("nan")}, r"temperature must be above 0, found nan"),
        ({"temperature": float("inf")}, r"temperature must be above 0, found inf"),
        ({"matryoshka_dims": (8, 8)}, r"distinct widths"),
        ({"matryoshka_dims": (8, 0)}, r"at least 1"),
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
        ((0, 0), None, r"0 documents do not match 0 queries"),
        ((4, 6), None, r"6 documents do not match 4 queries"),
        ((4, 0), None, r"0 documents do not match 4 queries"),
        ((4, 8), torch.zeros(4, 4, dtype=torch.bool), r"excluded must be bool \(4, 8\).*found torch\.bool \(4, 4\)"),
        ((4, 8), torch.zeros(4, 8), r"found torch\.float32"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(rows, mask, message):
    with pytest.raises(TrainingDataError, match=message):
        ContrastiveLoss()(torch.ones(rows[0], 8), torch.ones(rows[1], 8), mask)
