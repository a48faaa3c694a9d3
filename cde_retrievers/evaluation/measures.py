"""How good a ranking is, query by query, computed by ir-measures. Axes: Q queries."""

from collections.abc import Mapping

import numpy as np

from cde_retrievers.evaluation.intervals import Values
from cde_retrievers.judged import JudgedQueries, Run
from cde_retrievers.optional import imported

# Our names, and ir-measures' own.
MEASURES: Mapping[str, str] = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "mrr@10": "RR@10", "map": "AP"}
MAIN = "ndcg@10"
DEPTH = 1_000  # hits per query: what average precision is usually computed from


def per_query(judged: JudgedQueries, run: Run) -> dict[str, Values]:
    """Every measure of every query -> (Q,) by the measure's name, in the order of `judged.queries`.

    A query without hits counts 0.

    Args:
        judged: queries and their answers.
        run: score by document id, by query id.

    Raises:
        MissingDependencyError: ir-measures is not installed; names the extra.
    """
    ir_measures = imported("ir_measures", "evaluation", extra="eval")
    measures = {ir_measures.parse_measure(theirs): ours for ours, theirs in MEASURES.items()}
    place = {query: row for row, query in enumerate(judged.queries)}
    values = {name: np.zeros(len(place)) for name in MEASURES}
    judgements = {query: dict(judged.relevant[query]) for query in place}
    for metric in ir_measures.iter_calc(list(measures), judgements, {query: dict(hits) for query, hits in run.items()}):
        values[measures[metric.measure]][place[metric.query_id]] = metric.value
    return values
