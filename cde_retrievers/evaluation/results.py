"""The results of an evaluation, query by query. Axes: Q queries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.metrics import MAIN, MEASURES, Interval, Values, interval
from cde_retrievers.storage.atomic import replace_json
from cde_retrievers.util.counted import counted
from cde_retrievers.validation.signatures import validated

KEPT = 10  # hits of a query


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of one searcher on one set.

    Attributes:
        searcher: its name.
        data: the set's name.
        documents: in the corpus.
        queries: their ids, in the order of all values.
        values: of every measure, (Q,), by name: "ndcg@10", "recall@100", "mrr@10" and "map".
        best: the ids of the ten best documents of each query, best first.
    """

    searcher: str
    data: str
    documents: int
    queries: tuple[str, ...]
    values: Mapping[str, Values] = field(repr=False)
    best: tuple[tuple[str, ...], ...] = field(repr=False)

    @validated
    def mean(self, measure: str = MAIN) -> Interval:
        """Return a measure's mean over all queries, with its 95 % bootstrap interval.

        Raises:
            ConfigurationError: the measure is unknown.
        """
        return interval([self._of(measure)])

    def minus(self, other: "Evaluation", measure: str = MAIN) -> Interval:
        """Return by how much this searcher is better than another one, with the paired 95 % bootstrap interval.

        Raises:
            ConfigurationError: the measure is unknown, or the other one searched other queries.
        """
        return interval([self.differences(other, measure)])

    def differences(self, other: "Evaluation", measure: str = MAIN) -> Values:
        """Return by how much this searcher is better for each query -> (Q,); raises as `minus`."""
        if (self.data, self.queries) != (other.data, other.queries):
            raise ConfigurationError(
                f"only evaluations of the same queries can be compared, found {len(self.queries)} of {self.data!r} and "
                f"{len(other.queries)} of {other.data!r}; evaluate both on one set"
            )
        return self._of(measure) - other._of(measure)

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {self.values[name].mean():.3f}" for name in MEASURES)
        return f"{self.searcher} on {self.data} ({counted(len(self.queries), 'query')}): {figures}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "searcher": self.searcher,
            "data": self.data,
            "documents": self.documents,
            "means": {name: self.mean(name).to_dict() for name in MEASURES},
            "queries": list(self.queries),
            "values": {name: values.round(6).tolist() for name, values in self.values.items()},
            "best": [list(ids) for ids in self.best],
        }

    @validated
    def save(self, path: str | Path) -> None:
        """Write everything as JSON, whole or not at all; an older file there is replaced.

        Raises:
            PathInUseError: something else than a file is at `path`.
            WriteError: the disk is full, or `path` cannot be written to.
        """
        replace_json(path, self.to_dict())

    @classmethod
    @validated
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigurationError: it is not such a file.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be read ({error.strerror}); give the path of a saved evaluation, or evaluate again"
            ) from error
        except ValueError as error:
            raise ConfigurationError(
                f"{path} is not a saved evaluation: it is not JSON ({error}); evaluate again"
            ) from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Restore the output of `to_dict`.

        Raises:
            ConfigurationError: it is something else.
        """
        try:
            found = cls(
                content["searcher"],
                content["data"],
                content["documents"],
                tuple(content["queries"]),
                {name: np.asarray(content["values"][name], dtype=np.float64) for name in MEASURES},
                tuple(tuple(ids) for ids in content["best"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"this is not a saved evaluation ({error!r}); evaluate again") from error
        found._check_lengths()
        return found

    def _check_lengths(self) -> None:
        shapes = {values.shape for values in self.values.values()}
        # What was found may be left out to save space.
        if shapes != {(len(self.queries),)} or len(self.best) not in (0, len(self.queries)):
            raise ConfigurationError(
                f"this is not a saved evaluation: of {counted(len(self.queries), 'query')} it has values of shape "
                f"{' and '.join(map(str, sorted(shapes)))}, and the best documents of {len(self.best)}; evaluate again"
            )

    def _of(self, measure: str) -> Values:
        if measure not in self.values:
            raise ConfigurationError(f"measure {measure!r} is unknown; use one of {', '.join(MEASURES)}")
        return self.values[measure]


def mean_over_sets(evaluations: Sequence[Evaluation], measure: str = MAIN) -> Interval:
    """Return the mean over sets of one searcher's means; queries are resampled within each set."""
    return interval([each.values[measure] for each in evaluations])


def mean_difference(evaluations: Sequence[Evaluation], others: Sequence[Evaluation], measure: str = MAIN) -> Interval:
    """Return by how much one searcher is better than another on several sets, paired query by query.

    Args:
        evaluations: of the one, a set each.
        others: of the other, on the same sets in the same order.
        measure: what is compared.

    Raises:
        ConfigurationError: the measure is unknown, or the sets are not the same.
    """
    return interval([one.differences(other, measure) for one, other in zip(evaluations, others, strict=True)])
