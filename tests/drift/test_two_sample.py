from itertools import product

import numpy as np
import pytest

from cde_retrievers.drift.two_sample import LEVEL, PERMUTATIONS, compare, kernel, mean_discrepancies, separability


def cloud(count, seed, shift=0.0, width=8):
    """Vectors around a point that `shift` moves sideways."""
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    vectors[:, 0] += 3
    vectors[:, 1] += shift
    return vectors


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_kernel(vectors):
    """exp(-d^2 / 2 s^2), where s is the median distance of all pairs, a vector and itself included."""
    distances = np.array([[np.linalg.norm(a - b) for b in vectors] for a in vectors])
    width = np.median(distances)
    return np.exp(-(distances**2) / (2 * width**2))


def slow_discrepancy(gram, is_new):
    """Mean kernel within the one sample, plus within the other, less twice that between them."""
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    means = [np.mean([gram[i, j] for i, j in product(*pair)]) for pair in ((new, new), (old, old), (new, old))]
    return means[0] + means[1] - 2 * means[2]


def test_kernel_equals_its_definition():
    vectors = unit(cloud(30, seed=0))
    np.testing.assert_allclose(kernel(vectors), slow_kernel(vectors), rtol=1e-4)


def test_discrepancies_of_all_splits_equal_those_of_each():
    gram = kernel(unit(cloud(30, seed=0)))
    rng = np.random.default_rng(0)
    splits = np.stack([rng.permutation(30) < size for size in (10, 10, 15, 21)])
    np.testing.assert_allclose(
        mean_discrepancies(gram, splits), [slow_discrepancy(gram, split) for split in splits], rtol=1e-4
    )


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_p_value_equals_that_of_a_loop_over_permutations(shift):
    reference, new = cloud(24, seed=0), cloud(16, seed=1, shift=shift)
    gram = slow_kernel(unit(np.concatenate([reference, new])))
    is_new = np.arange(40) >= 24
    statistic = slow_discrepancy(gram, is_new)
    rng = np.random.default_rng(7)
    larger = sum(slow_discrepancy(gram, rng.permutation(is_new)) >= statistic for _ in range(500))
    found = compare(reference, new, seed=0)
    assert found.statistic == pytest.approx(statistic, rel=1e-4)
    assert found.p_value == pytest.approx((1 + larger) / 501, abs=0.08)


def test_p_values_of_one_distribution_are_spread_evenly():
    p_values = [compare(cloud(30, 2 * seed), cloud(20, 2 * seed + 1), seed).p_value for seed in range(200)]
    assert np.mean(np.array(p_values) <= LEVEL) <= 0.05
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)
    assert np.mean(np.array(p_values) <= 0.2) == pytest.approx(0.2, abs=0.09)


@pytest.mark.parametrize("shift", np.linspace(0, 1.5, 7))
def test_a_statistic_above_the_threshold_is_significant(shift):
    found = compare(cloud(40, seed=0), cloud(40, seed=1, shift=shift), seed=0)
    assert (found.statistic > found.threshold) == (found.p_value <= LEVEL)


def test_samples_far_apart_have_the_smallest_p_value_and_are_told_apart():
    found = compare(cloud(40, seed=0), cloud(16, seed=1, shift=30), seed=0)
    assert found.p_value == pytest.approx(1 / (PERMUTATIONS + 1))
    assert found.share == 1.0


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8])
def test_separability_is_the_share_of_what_is_easily_told_apart(share):
    foreign = round(400 * share)
    vectors = np.concatenate([cloud(800 - foreign, seed=0), cloud(foreign, seed=1, shift=30)])
    found = separability(vectors, np.arange(800) >= 400, np.random.default_rng(0))
    assert found == pytest.approx(share, abs=0.1)


def test_only_directions_count():
    reference, new = cloud(40, seed=0), cloud(40, seed=1, shift=1)
    longer = new * np.linspace(1, 5, 40, dtype=np.float32)[:, None]
    assert compare(reference, longer, 0).statistic == pytest.approx(compare(reference, new, 0).statistic, rel=1e-4)


def test_more_dimensions_than_vectors_make_no_difference():
    vectors = cloud(60, seed=0, width=40)
    vectors[30:, 1] += 4
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(500, 40)))[0].T.astype(np.float32)
    narrow, wide = (
        separability(v, np.arange(60) >= 30, np.random.default_rng(0)) for v in (vectors, vectors @ rotation)
    )
    assert 0.5 < narrow < 1
    # The ridge is the mean variance of the directions that vectors can span: 40 here, 47 of the fitted ones there.
    assert wide == pytest.approx(narrow, abs=0.1)


def test_vectors_that_are_all_the_same_are_no_drift():
    found = compare(np.ones((20, 8), np.float32), np.ones((20, 8), np.float32), seed=0)
    assert found.p_value == 1.0
    assert found.share == 0.0
