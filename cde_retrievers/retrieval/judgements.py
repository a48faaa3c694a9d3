"""Judged queries, and measures of a search on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError, InvalidTextError, shown
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.numbers import is_whole

DEPTH = 10
"""Hits per query that nDCG@10 looks at."""
HIGHEST_GRADE = 1_000_000
"""A grade is at most this; the program that computes nDCG makes a table of as many rows."""
_LONGEST_ID = 64  # bits: Python does not write numbers of any length
Run = Mapping[str, Mapping[str, float]]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """Queries and their relevant documents, as BEIR's queries and qrels.

    Ids are texts; whole numbers become text.

    Attributes:
        queries: text by query id.
        relevant: grade by document id, by query id; a document with a grade above 0 is relevant.

    Raises:
        ConfigurationError: there are no queries, one has no judgements, or an id or a grade is of another type.
        InvalidTextError: a query has no text.
    """

    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        queries = by_text_id("queries", self.queries)
        relevant = {
            query: checked_grades(query, grades) for query, grades in by_text_id("relevant", self.relevant).items()
        }
        if not queries:
            raise ConfigurationError("there are no judged queries; give at least one, or leave them out")
        for query, text in queries.items():
            _check_query(query, text)
        unjudged = sorted(set(queries) - set(relevant))
        if unjudged:
            raise ConfigurationError(
                f"{len(unjudged):,} of {len(queries):,} queries have no judgements, such as {unjudged[0]!r}; leave "
                f"them out"
            )
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "relevant", relevant)

    def is_itself(self, query: str, document: str, text: str) -> bool:
        """Whether a document is the query: it has the query's id, and is not judged to answer it.

        In some sets, such as ArguAna and Quora, the queries are documents of the corpus. As in BEIR, such a document
        is left out of the hits of its own query. Where queries and documents are both counted from 1, equal ids say
        nothing; so a document whose id is a number must hold the text of the query too.

        Args:
            query: its id.
            document: the document's id.
            text: of the document.
        """
        if query != document or self.relevant[query].get(document, 0) > 0:
            return False
        return not query.isdigit() or _plain(self.queries[query]) in _plain(text)

    def run_of(self, found: Iterable[Iterable[tuple[str, float]]]) -> dict[str, dict[str, float]]:
        """Return the results of a search as measures take them: score by document id, best first, by query id.

        Documents of equal score keep their order.

        Args:
            found: id and score of each document found, for each query in order.
        """
        return {query: dict(_ranked(hits)) for query, hits in zip(self.queries, found, strict=True)}

    def per_query(self, run: Run, measures: Mapping[str, str]) -> dict[str, Values]:
        """Compute measures of every query by ir-measures -> (Q,) by the measure's name, in the order of `queries`.

        All measures judge one ranking: documents by their scores, and those of equal score in the order given. A query
        without hits counts 0.

        Args:
            run: score by document id, by query id.
            measures: ir-measures' name of each measure, by the name in the result.

        Raises:
            MissingDependencyError: ir-measures is not installed; the message names the extra.
        """
        ir_measures = imported("ir_measures", "evaluation", extra="eval")
        names = {ir_measures.parse_measure(theirs): ours for ours, theirs in measures.items()}
        values = {name: np.zeros(len(self.queries)) for name in measures}
        judgements, found = {}, {}
        for place, query in enumerate(self.queries):
            ranking = [document for document, _ in _ranked(run.get(query, {}).items())]
            judgements[str(place)], found[str(place)] = _numbered(self.relevant[query], ranking)
        for metric in ir_measures.iter_calc(list(names), judgements, found):
            values[names[metric.measure]][int(metric.query_id)] = metric.value
        return values

    def ndcg_at_10(self, run: Run) -> float:
        """Compute the mean nDCG@10 over the queries; arguments and errors as in `per_query`."""
        return float(self.per_query(run, {"ndcg@10": "nDCG@10"})["ndcg@10"].mean())


def _plain(text: str) -> str:
    """Return the text in lower case, with one space between words."""
    return " ".join(text.split()).casefold()


def _ranked(hits: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort hits by score, best first; equal ones keep their order."""
    return sorted(hits, key=lambda hit: -hit[1])


def _numbered(relevant: Mapping[str, int], ranking: list[str]) -> tuple[dict[str, int], dict[str, float]]:
    """Return judgements and ranking of one query under ids and scores of our own.

    The programs behind ir-measures order documents of equal score by their ids, each in its own way, and some cut ids
    at unusual characters. So they are given numbers as ids, and scores that no two documents share.
    """
    numbers = {document: str(number) for number, document in enumerate(dict.fromkeys((*ranking, *relevant)))}
    grades = {numbers[document]: grade for document, grade in relevant.items()}
    return grades, {numbers[document]: float(-rank) for rank, document in enumerate(ranking)}


def by_text_id(setting: str, found: object) -> dict[str, Any]:
    """Return a mapping with its ids as texts; whole numbers become text.

    Raises:
        ConfigurationError: it is not a mapping, or a key is neither a text nor a whole number, or two become one.
    """
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{setting} is {shown(found)}; give a mapping whose keys are ids")
    values: dict[str, Any] = {}
    for identity, value in found.items():
        known = text_id(setting, identity)
        if known in values:
            raise ConfigurationError(
                f"{setting} has both the number {known} and the text {known!r} as ids; give each its own"
            )
        values[known] = value
    return values


def text_id(setting: str, identity: object) -> str:
    """Return an id as a text.

    Raises:
        ConfigurationError: it is neither a text nor a whole number, or an empty text.
    """
    if isinstance(identity, str) and identity:
        return str(identity)
    if is_whole(identity) and int(identity).bit_length() <= _LONGEST_ID:
        return str(identity)
    raise ConfigurationError(
        f"{setting} has {shown(identity)} as an id; an id is a whole number, or a text that is not empty"
    )


def checked_grades(query: str, grades: object) -> dict[str, int]:
    """Return the grades of a query's answers, by document id.

    Raises:
        ConfigurationError: they are not a mapping of ids to whole numbers.
    """
    return {
        document: _checked_grade(query, document, grade)
        for document, grade in by_text_id(f"what answers query {query!r}", grades).items()
    }


def _checked_grade(query: str, document: str, grade: object) -> int:
    number = whole_grade(grade)
    if number is None:
        raise ConfigurationError(
            f"query {query!r} grades {document!r} with {shown(grade)}; a grade is a whole number from "
            f"-{HIGHEST_GRADE:,} to {HIGHEST_GRADE:,}"
        )
    return number


def whole_grade(grade: object) -> int | None:
    """Return a grade as a whole number, such as 1 for 1.0; None if it is not one, or is out of range."""
    if isinstance(grade, float | np.floating) and not float(grade).is_integer():
        return None
    if not isinstance(grade, float | np.floating | bool | np.bool_) and not is_whole(grade):
        return None
    number = int(grade)
    return number if abs(number) <= HIGHEST_GRADE else None


def _check_query(query: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InvalidTextError(f"query {query!r} has {shown(text)} as its text; give a text, or leave the query out")
