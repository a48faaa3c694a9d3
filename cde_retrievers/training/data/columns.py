"""The columns of rows: which one is the query, the positive, a negative or the domain of a pair."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cde_retrievers.errors import TrainingDataError
from cde_retrievers.training.data.pairs import Pair, check_pair

logger = logging.getLogger(__name__)

# Their names in data sets; a row must have exactly one of each.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "anchor", "question"),
    "positive": ("positive", "document", "context", "answer", "passage"),
}
_NEGATIVES = re.compile(r"negatives|negative(?:_(?P<number>\d{1,9}))?")
_DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class _Columns:
    """The role of each column of a row."""

    query: str
    positive: str
    negatives: tuple[str, ...]
    unused: tuple[str, ...]


class RowReader:
    """Makes pairs of the rows of one source, and logs its unused columns once.

    Args:
        source: its name, for messages.
        domain: of rows without one.
    """

    def __init__(self, source: str, domain: str) -> None:
        self._source = source
        self._domain = domain
        self._known: dict[tuple[str, ...], _Columns] = {}
        self._unused: set[str] = set()

    def pair(self, item: object, place: str) -> Pair:
        """The pair made from a row, or from a pair without a domain.

        Args:
            item: a `Pair`, or values by column.
            place: where it is from, for messages.

        Raises:
            TrainingDataError: `item` is neither, a column is missing or ambiguous, or a text is not a string.
        """
        if isinstance(item, Mapping):
            pair = self._from_row(item, place)
        elif isinstance(item, Pair):
            pair = replace(item, negatives=_texts(item.negatives, place), domain=self._domain_of(item.domain))
        else:
            raise TrainingDataError(
                f"{place} is a {type(item).__name__}; give cde_retrievers.training.Pair or a mapping such as "
                f'{{"query": "...", "positive": "..."}}'
            )
        check_pair(pair, place)
        return pair

    def _from_row(self, row: Mapping[Any, Any], place: str) -> Pair:
        columns = self._columns(row, place)
        texts = {role: row[column] for role, column in (("query", columns.query), ("positive", columns.positive))}
        for role, text in texts.items():
            if text is None:
                raise TrainingDataError(f"{place} has no {role}; leave the row out or fill it in")
        negatives = tuple(text for column in columns.negatives for text in _texts(row[column], place))
        return Pair(texts["query"], texts["positive"], negatives, self._domain_of(row.get(_DOMAIN)))

    def _domain_of(self, found: Any) -> Any:
        return self._domain if found in (None, "") else found

    def _columns(self, row: Mapping[Any, Any], place: str) -> _Columns:
        names = tuple(map(str, row))
        if names not in self._known:
            self._known[names] = _columns_of(names, place)
            self._tell_unused(self._known[names].unused)
        return self._known[names]

    def _tell_unused(self, columns: tuple[str, ...]) -> None:
        new = sorted(set(columns) - self._unused)
        if new:
            self._unused.update(new)
            logger.warning("%s: the columns %s are not used in training", self._source, new)


def _columns_of(names: tuple[str, ...], place: str) -> _Columns:
    query, positive = (_the_one(role, names, place) for role in _NAMES)
    negatives = tuple(sorted((name for name in names if _NEGATIVES.fullmatch(name)), key=_number))
    unused = set(names) - {query, positive, *negatives, _DOMAIN}
    return _Columns(query, positive, negatives, tuple(sorted(unused)))


def _the_one(role: str, names: tuple[str, ...], place: str) -> str:
    found = [name for name in names if name in _NAMES[role]]
    if len(found) > 1:
        raise TrainingDataError(
            f"{place} has several columns that could be the {role}: {found}, of {sorted(names)}; rename or drop all "
            f"but one"
        )
    if not found:
        raise TrainingDataError(
            f"{place} has no column for the {role}, only {sorted(names)}; name one of these {', '.join(_NAMES[role])}"
        )
    return found[0]


def _number(column: str) -> int:
    match = _NEGATIVES.fullmatch(column)
    return int(match["number"]) if match and match["number"] else 0


def _texts(value: Any, place: str) -> tuple[Any, ...]:
    """The values of a text, a list of texts or None; `check_pair` checks their types."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise TrainingDataError(
            f"{place}: negatives must be a list of texts, found {type(value).__name__}; give a list"
        )
    return tuple(value)
