"""Judged queries, and nDCG@10 on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.util.imports import imported

DEPTH = 10
Run = Mapping[str, Mapping[str, float]]


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

    def ndcg_at_10(self, run: Run) -> float:
        """Compute the mean nDCG@10 over the queries by ir-measures.

        Args:
            run: score by document id, by query id.

        Raises:
            MissingDependencyError: ir-measures is not installed; the message names the extra.
        """
        ir_measures = imported("ir_measures", "judging a search", extra="eval")
        measure = ir_measures.nDCG @ DEPTH
        judgements = {query: dict(self.relevant[query]) for query in self.queries}
        found = {query: dict(run.get(query, {})) for query in self.queries}
        # A query without hits would be left out of the mean instead of counting 0.
        total = sum(metric.value for metric in ir_measures.iter_calc([measure], judgements, found))
        return float(total) / len(self.queries)


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
