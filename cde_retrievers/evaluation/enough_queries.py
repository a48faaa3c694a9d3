"""How many queries are enough to tell two searches apart."""

import math

from cde_retrievers.evaluation.metrics import FEWEST_NONZERO, Interval

FEWEST = 25
"""Below this a difference that is not significant says nothing: Buckley and Voorhees, Evaluating Evaluation Measure
Stability (SIGIR 2000), find experiments with fewer queries unreliable."""
_SMALLEST = 0.02
"""A difference of nDCG that is worth telling from chance."""


def are_too_few(gain: Interval) -> bool:
    """Whether a difference is over so few queries that neither a gain nor its absence can be told."""
    return not gain.is_significant and (gain.excludes_zero or gain.count < FEWEST)


def enough(gain: Interval) -> int:
    """Return about how many queries of the kind would tell a difference like this one, or of two points, from chance.

    The width of an interval shrinks with the square root of the number of queries. Two digits are given: the width is
    itself an estimate.
    """
    if gain.excludes_zero:
        factor = FEWEST_NONZERO / gain.nonzero
    else:
        factor = ((gain.high - gain.low) / 2 / max(abs(gain.mean), _SMALLEST)) ** 2
    return max(FEWEST, gain.count + 1, _two_digits(gain.count * factor))


def _two_digits(value: float) -> int:
    """Return the least whole number of at most two digits before zeros that is not below the value."""
    unit: int = 10 ** max(0, len(str(math.ceil(value))) - 2)
    return math.ceil(value / unit) * unit
