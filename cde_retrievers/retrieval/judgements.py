"""Judged queries, and measures of a search on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.util.imports import imported

DEPTH = 10
"""Hits per query that nDCG@10 looks at."""
Run = Mapping[str, Mapping[str, float]]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """Queries and their relevant documents, as BEIR's queries and qrels.

    Attributes:
        queries: text by query id.
        relevant: grade by document id, by query id; a document with a grade above 0 is relevant.
    """

    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        check_by_id("queries", self.queries)
        check_by_id("relevant", self.relevant)
        for query, grades in self.relevant.items():
            check_grades(query, grades)
        if not self.queries:
            raise ConfigurationError("there are no judged queries; give at least one, or leave them out")
        unjudged = sorted(set(self.queries) - set(self.relevant))
        if unjudged:
            raise ConfigurationError(
                f"query {unjudged[0]!r} and {len(unjudged) - 1} others have no judgements; leave them out"
            )

    def run_of(self, found: Iterable[Iterable[tuple[str, float]]]) -> dict[str, dict[str, float]]:
        """Return the results of a search as measures take them: score by document id, by query id.

        Args:
            found: id and score of each document found, for each query in order.
        """
        return {query: dict(hits) for query, hits in zip(self.queries, found, strict=True)}

    def per_query(self, run: Run, measures: Mapping[str, str]) -> dict[str, Values]:
        """Compute measures of every query by ir-measures -> (Q,) by the measure's name, in the order of `queries`.

        A query without hits counts 0.

        Args:
            run: score by document id, by query id.
            measures: ir-measures' name of each measure, by the name in the result.

        Raises:
            MissingDependencyError: ir-measures is not installed; the message names the extra.
        """
        ir_measures = imported("ir_measures", "evaluation", extra="eval")
        names = {ir_measures.parse_measure(theirs): ours for ours, theirs in measures.items()}
        place = {query: row for row, query in enumerate(self.queries)}
        values = {name: np.zeros(len(place)) for name in measures}
        judgements = {query: dict(self.relevant[query]) for query in place}
        found = {query: dict(run.get(query, {})) for query in place}
        for metric in ir_measures.iter_calc(list(names), judgements, found):
            values[names[metric.measure]][place[metric.query_id]] = metric.value
        return values

    def ndcg_at_10(self, run: Run) -> float:
        """Compute the mean nDCG@10 over the queries; arguments and errors as in `per_query`."""
        return float(self.per_query(run, {"ndcg@10": "nDCG@10"})["ndcg@10"].mean())


def check_by_id(setting: str, found: object) -> None:
    """Raise ConfigurationError unless this is a mapping whose keys are texts."""
    if not isinstance(found, Mapping) or not all(isinstance(identity, str) for identity in found):
        raise ConfigurationError(f"{setting} is {shown(found)}; give a mapping whose keys are ids, as texts")


def check_grades(query: str, grades: object) -> None:
    """Raise ConfigurationError unless these are the grades of a query's answers, by document id."""
    check_by_id(f"what answers query {query!r}", grades)
    for document, grade in cast("Mapping[str, object]", grades).items():
        if not isinstance(grade, int):
            raise ConfigurationError(
                f"query {query!r} grades {document!r} with {shown(grade)}; a grade is a whole number"
            )
