"""Comparisons and matrices with figures that a test chooses, without a model."""

import numpy as np

from cde_retrievers.evaluation import Comparison, ContextMatrix, Evaluation
from cde_retrievers.evaluation.comparison import Row
from cde_retrievers.evaluation.metrics import MEASURES

QUERIES = tuple(f"q{place}" for place in range(30))


def evaluation(
    mean: float, name: str = "searcher", data: str = "set", spread: float = 0.3, seed: int = 0
) -> Evaluation:
    """Thirty queries with that mean."""
    noise = np.random.default_rng(seed).uniform(-spread, spread, len(QUERIES))
    values = mean + noise - noise.mean()
    return Evaluation(name, data, 100, QUERIES, dict.fromkeys(MEASURES, values), ((),) * len(QUERIES))


def comparison(
    own: float = 0.5, without: float = 0.4, sizes: dict[int, float] | None = None, **others: float
) -> Comparison:
    rows = [
        Row("own context", "context", evaluation(own)),
        Row("no context (null vector)", "context", evaluation(without)),
    ]
    rows += [
        Row(f"own context, {size} documents", "size", evaluation(m, seed=size), size)
        for size, m in (sizes or {}).items()
    ]
    rows += [Row(label, "other", evaluation(mean)) for label, mean in others.items()]
    return Comparison("tiny", tuple(rows))


def matrix(gains: np.ndarray, names: tuple[str, ...]) -> ContextMatrix:
    """With those gains in points over no context."""
    rows = tuple(
        tuple(evaluation(0.5 + gain / 100, data=name) for gain in row) for name, row in zip(names, gains, strict=True)
    )
    return ContextMatrix(names, rows, tuple(evaluation(0.5, data=name) for name in names))
