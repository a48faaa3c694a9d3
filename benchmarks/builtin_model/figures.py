"""What a script here writes down of sets that were searched."""

from collections.abc import Sequence
from typing import Any

from cde_retrievers.evaluation import Evaluation, mean_difference, mean_over_sets


def figures(found: Sequence[Evaluation], before: Sequence[Evaluation]) -> dict[str, Any]:
    """nDCG@10 of each set, their mean, and what it gains on `before`; to as many digits as no table rounds twice."""
    return {
        "ndcg@10": {each.data: round(each.mean().mean, 6) for each in found},
        "mean": round(mean_over_sets(found).mean, 6),
        "gain": {key: round(value, 6) for key, value in mean_difference(found, before).to_dict().items()},
    }
