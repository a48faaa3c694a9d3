"""Training pairs, as a table of distinct texts.

Axes: n pairs, Q distinct queries, D distinct documents.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import InvalidTextError, TrainingDataError, shown
from cde_retrievers.storage.hashing import sha256_of_json, sha256_of_text
from cde_retrievers.validation.signatures import is_iterable
from cde_retrievers.validation.texts import checked_text

Indices = NDArray[np.int64]
_DOMAIN_FIELD = "domain"  # of a document's metadata


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a document that answers it.

    Attributes:
        query: without a prompt; the model puts its own before it.
        positive: the document, without a prompt.
        negatives: documents that look like answers to the query but are not.
        domain: the corpus of the pair, or a part of one; batches are drawn within it.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    domain: str = ""


@dataclass(frozen=True, eq=False)
class TrainingPairs(Sequence[Pair]):
    """Pairs in a fixed order. Make one with `TrainingPairs.of` or `read_pairs`.

    Attributes:
        queries: Q distinct queries.
        documents: D distinct documents, positives and negatives.
        domains: their names, in order of appearance.
        query_of: row in `queries` of each pair, (n,).
        positive_of: row in `documents` of each pair's positive, (n,).
        negatives_of: rows in `documents` of each pair's negatives, n tuples.
        domain_of: row in `domains` of each pair, (n,).
    """

    queries: tuple[str, ...] = field(repr=False)
    documents: tuple[str, ...] = field(repr=False)
    domains: tuple[str, ...] = field(repr=False)
    query_of: Indices = field(repr=False)
    positive_of: Indices = field(repr=False)
    negatives_of: tuple[tuple[int, ...], ...] = field(repr=False)
    domain_of: Indices = field(repr=False)

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Self:
        """The table of these pairs.

        Raises:
            TrainingDataError: there are no pairs, or one has an empty text or one that is not a string.
        """
        if not is_iterable(pairs):
            raise TrainingDataError(
                f"a collection of pairs is expected, found {shown(pairs)}; put a single one into a list"
            )
        queries, documents, domains = _Rows(), _Rows(), _Rows()
        rows: list[tuple[int, int, int]] = []
        negatives: list[tuple[int, ...]] = []
        for place, pair in enumerate(pairs):
            check_pair(pair, f"pair {place}")
            rows.append((queries.row(pair.query), documents.row(pair.positive), domains.row(pair.domain)))
            negatives.append(tuple(documents.row(text) for text in pair.negatives))
        if not rows:
            raise TrainingDataError("there are no pairs to train on; give at least one batch of them")
        columns = np.asarray(rows, dtype=np.int64).T.copy()
        return cls(
            tuple(queries.texts), tuple(documents.texts), tuple(domains.texts),
            columns[0], columns[1], tuple(negatives), columns[2],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.query_of)

    @overload
    def __getitem__(self, place: int) -> Pair: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> Pair | Self:
        if isinstance(place, slice):
            return self.of(self[i] for i in range(len(self))[place])
        return Pair(
            self.queries[self.query_of[place]],
            self.documents[self.positive_of[place]],
            tuple(self.documents[row] for row in self.negatives_of[place]),
            self.domains[self.domain_of[place]],
        )

    def __iter__(self) -> Iterator[Pair]:
        return (self[place] for place in range(len(self)))

    def __add__(self, other: "TrainingPairs") -> Self:
        """These pairs, then the others."""
        return self.of(pair for part in (self, other) for pair in part)

    @cached_property
    def answers_of(self) -> tuple[Indices, ...]:
        """The rows in `documents` of all positives of each query, ascending: Q arrays."""
        known = np.unique(np.stack([self.query_of, self.positive_of]), axis=1)
        return tuple(np.split(known[1], np.searchsorted(known[0], np.arange(1, len(self.queries)))))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every pair and their order."""
        digest = hashlib.sha256()
        for texts in (self.queries, self.documents, self.domains):
            digest.update(sha256_of_json([sha256_of_text(text) for text in texts]).encode())
        for rows in (self.query_of, self.positive_of, self.domain_of):
            digest.update(rows.tobytes())
        digest.update(sha256_of_json(self.negatives_of).encode())
        return digest.hexdigest()


def check_table(pairs: object) -> None:
    """Refuse anything but `TrainingPairs`.

    Raises:
        TrainingDataError: `pairs` is something else, such as rows that were not read yet.
    """
    if not isinstance(pairs, TrainingPairs):
        raise TrainingDataError(
            f"pairs must be TrainingPairs, found {type(pairs).__name__}; make them of rows or data sets with read_pairs"
        )


def check_pair(pair: Pair, place: str) -> None:
    """Refuse a pair that cannot be trained on.

    Args:
        pair: to check.
        place: where it is from, for messages.

    Raises:
        TrainingDataError: a text is empty or not a string, or a negative is the positive.
    """
    if not isinstance(pair, Pair):
        raise TrainingDataError(f"{place}: a Pair is needed, found {shown(pair)}; give Pair(query, positive)")
    if not isinstance(pair.negatives, tuple | list):
        raise TrainingDataError(
            f"{place}: the negatives must be a tuple or list, found {type(pair.negatives).__name__}; put a single "
            f"one into a tuple: (text,)"
        )
    texts = (("query", pair.query), ("positive", pair.positive), *(("negative", text) for text in pair.negatives))
    for role, text in texts:
        if not isinstance(text, str):
            raise TrainingDataError(f"{place}: the {role} must be a text, found {type(text).__name__}: {shown(text)}")
        if not text.strip():
            raise TrainingDataError(f"{place}: the {role} is empty; leave the pair out or fill it in")
        try:
            checked_text(text, 0)
        except InvalidTextError as error:
            raise TrainingDataError(f"{place}: the {role} cannot be read: {error}") from error
    if pair.positive in pair.negatives:
        raise TrainingDataError(f"{place}: the positive is among its own negatives; remove it from them")
    if not isinstance(pair.domain, str):
        raise TrainingDataError(f"{place}: the domain must be a text, found {type(pair.domain).__name__}; give a name")


class _Rows:
    """Distinct texts in order of appearance, each with its row."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        return list(self._row)

    def row(self, text: str) -> int:
        return self._row.setdefault(text, len(self._row))


def first_rows(pairs: TrainingPairs) -> Indices:
    """The first row of each distinct query and positive, ascending."""
    return np.sort(np.unique(_texts(pairs), return_index=True)[1])


def with_gathered_negatives(pairs: TrainingPairs) -> TrainingPairs:
    """The same pairs; repeated ones all get the hard negatives of each other."""
    _, group = np.unique(_texts(pairs), return_inverse=True)
    gathered: list[dict[int, None]] = [{} for _ in range(int(group.max()) + 1)]
    for place, negatives in zip(group.tolist(), pairs.negatives_of, strict=True):
        gathered[place].update(dict.fromkeys(negatives))
    rows: Sequence[tuple[int, ...]] = [tuple(found) for found in gathered]
    return replace(pairs, negatives_of=tuple(rows[place] for place in group.tolist()))


def _texts(pairs: TrainingPairs) -> Indices:
    """A number for each pair, equal for pairs of equal query and positive."""
    numbers: Indices = pairs.query_of * len(pairs.documents) + pairs.positive_of
    return numbers


def domain_name(name: str, metadata: Mapping[str, Any], place: str) -> str:
    """The domain of a document: its set, followed by the `domain` in its metadata, if any.

    Args:
        name: of the set; may be empty.
        metadata: of the document.
        place: where the document is, for messages.

    Raises:
        TrainingDataError: the metadata's domain is not a text.
    """
    part = metadata.get(_DOMAIN_FIELD)
    if part is None or part == "":
        return name
    if not isinstance(part, str):
        raise TrainingDataError(
            f"{place}: metadata {_DOMAIN_FIELD!r} must be a text, found {type(part).__name__}; give a name"
        )
    return f"{name}/{part}" if name else part
