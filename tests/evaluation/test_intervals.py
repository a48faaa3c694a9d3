"""Bootstrap intervals of means and of paired differences."""

import numpy as np
import pytest

from cde_retrievers.evaluation.enough_queries import are_too_few, enough
from cde_retrievers.evaluation.metrics import interval


def test_the_interval_is_that_of_drawing_one_query_after_the_other():
    """A slow twin: every resample by itself, its mean by summing."""
    rng = np.random.default_rng(3)
    values = rng.random(40)
    means = []
    for _ in range(4_000):
        drawn = [values[rng.integers(40)] for _ in range(40)]
        means.append(sum(drawn) / 40)
    low, high = np.quantile(means, [0.025, 0.975])
    found = interval([values], resamples=4_000)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_about_as_many_intervals_hold_the_truth_as_the_level_says():
    rng = np.random.default_rng(0)
    held = [
        found.low <= 0.5 <= found.high
        for found in (interval([rng.random(50)], seed=trial, resamples=400, level=0.8) for trial in range(300))
    ]
    assert 0.72 < np.mean(held) < 0.87


def test_sets_count_alike_whatever_their_size():
    found = interval([np.zeros(1_000), np.ones(10)])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_mean_over_several_sets_is_surer_than_that_over_one():
    values = np.random.default_rng(1).random(30)
    one, four = interval([values]), interval([values] * 4)
    assert one.high - one.low == pytest.approx(2 * (four.high - four.low), rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).random(30)
    assert interval([values], seed=5) == interval([values], seed=5) != interval([values], seed=6)


def test_many_queries_are_drawn_in_blocks():
    values = np.random.default_rng(1).random(20_000)
    found = interval([values], resamples=500)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20_000), rel=0.15)


@pytest.mark.parametrize(("values", "excludes"), [([0.1, 0.2, 0.3], True), ([-0.3, 0.2, 0.3], False)])
def test_a_difference_is_significant_if_its_interval_excludes_zero(values, excludes):
    found = interval([np.array(values * 4)])
    assert found.excludes_zero is excludes
    assert interval([-np.array(values * 4)]).is_significant is found.is_significant is excludes
    assert (found.count, found.nonzero) == (12, 12)


@pytest.mark.parametrize(("differing", "significant"), [(5, False), (6, True)])
def test_a_difference_of_fewer_than_six_queries_is_not_significant(differing, significant):
    found = interval([np.array([0.5] * differing)])
    assert found.excludes_zero
    assert found.is_significant is significant
    among_others = interval([np.array([0.5] * differing + [0.0] * 6)])
    assert (among_others.count, among_others.nonzero) == (differing + 6, differing)


@pytest.mark.parametrize(
    ("values", "too_few", "needed"),
    [
        ([0.0, 0.0], True, 25),
        ([0.2, 0.4], True, 25),
        ([0.3] * 5, True, 25),
        ([0.3] * 6, False, None),
        ([0.5] * 4 + [0.0] * 96, True, 150),
        ([0.0] * 24, True, 25),
        ([0.0] * 25, False, None),
        ([0.4, -0.38] * 12, True, 1_500),
        ([0.4, -0.38] * 13, False, None),
    ],
)
def test_queries_are_too_few_where_a_difference_can_neither_be_told_nor_ruled_out(values, too_few, needed):
    gain = interval([np.array(values)])
    assert are_too_few(gain) is too_few
    if too_few:
        assert enough(gain) == pytest.approx(needed, rel=0.1)
        assert len(str(enough(gain)).rstrip("0")) <= 2


def test_as_many_queries_as_are_said_to_be_enough_make_the_interval_exclude_zero():
    values = np.random.default_rng(4).normal(0.05, 0.2, size=20)
    gain = interval([values])
    assert not gain.excludes_zero
    more = np.resize(values, 20 * round(1.3 * enough(gain) / 20))
    assert interval([more]).is_significant
