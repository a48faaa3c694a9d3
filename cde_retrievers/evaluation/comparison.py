"""The results of a comparison: one evaluation per searcher, all of the same queries."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.metrics import MAIN, MEASURES, Interval
from cde_retrievers.evaluation.results import Evaluation
from cde_retrievers.storage.atomic import replace_json

if TYPE_CHECKING:  # pictures of saved comparisons need no model
    from cde_retrievers.index.queries import Mode

Group = Literal["context", "strategy", "seed", "size", "other"]
NO_CONTEXT = "no context"  # what the labels of all rows without one begin with


@dataclass(frozen=True, eq=False)
class Row:
    """One searcher of a comparison.

    Attributes:
        label: what it is called here.
        group: what it is there for: "context" for own, none, another's; "strategy", "seed" and "size" for other own
            contexts; "other" for a model that is not contextual.
        evaluation: what it found.
        size: context documents, for the group "size".
        mode: how a contextual model searched: by words, by vectors, or by both, fused as an index does ("hybrid") or by
            their ranks ("rrf"); None for searchers of another kind.
    """

    label: str
    group: Group
    evaluation: Evaluation
    size: int | None = None
    mode: "Mode | Literal['rrf'] | None" = None

    def labels(self) -> dict[str, Any]:
        """All but the evaluation, of types that JSON has."""
        return {"label": self.label, "group": self.group, "size": self.size, "mode": self.mode}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Searchers side by side on one set. The first row is the search that the others are compared with.

    Attributes:
        model: its name.
        rows: at least one.
    """

    model: str
    rows: tuple[Row, ...]

    @property
    def own(self) -> Evaluation:
        """The first row: the model under the corpus' own context, by vectors and words unless asked otherwise."""
        return self.rows[0].evaluation

    @property
    def without(self) -> Row:
        """The model by vectors alone and without a context.

        Raises:
            ConfigurationError: that was not evaluated.
        """
        for row in self.of("context"):
            if row.label.startswith(NO_CONTEXT) and row.mode in ("dense", None):  # earlier releases saved no mode
                return row
        raise ConfigurationError(f"{self.model} was not evaluated without a context; compare() does so")

    @property
    def by_hand(self) -> Row | None:
        """Rank fusion of plain vectors and BM25, which is usually built by hand; None if that was not evaluated."""
        return next((row for row in self.of("other") if row.mode == "rrf"), None)

    def of(self, group: Group) -> Iterator[Row]:
        """Yield the rows of one group."""
        return (row for row in self.rows if row.group == group)

    def gain_over(self, label: str, measure: str = MAIN) -> Interval:
        """Return by how much the first row is better than the row of that label, paired.

        Raises:
            ConfigurationError: there is no such row, or no such measure.
        """
        for row in self.rows:
            if row.label == label:
                return self.own.minus(row.evaluation, measure)
        raise ConfigurationError(f"there is no row {label!r}; there are {[row.label for row in self.rows]}")

    def table(self) -> str:
        """Return every row in Markdown: measures in points, and what the first row gains over it with its interval."""
        names = list(MEASURES)
        lines = [f"| {self.own.data} | {' | '.join(names)} | first row gains, {MAIN} |"]
        lines.append("|---" * (len(names) + 2) + "|")
        for row in self.rows:
            cells = [f"{100 * float(row.evaluation.values[name].mean()):.1f}" for name in names]
            lines.append(f"| {row.label} | {' | '.join(cells)} | {self._gain(row)} |")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        rows = [{**row.labels(), "evaluation": row.evaluation.to_dict()} for row in self.rows]
        return {"model": self.model, "rows": rows}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Restore the output of `to_dict`.

        Raises:
            ConfigurationError: it is something else.
        """
        try:
            rows = tuple(
                Row(row["label"], row["group"], Evaluation.from_dict(row["evaluation"]), row["size"], row.get("mode"))
                for row in content["rows"]
            )
            return cls(content["model"], rows)
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError(f"this is not a saved comparison ({error!r}); compare again") from error

    def save(self, path: str | Path) -> None:
        """Write everything as JSON, whole or not at all; an older file there is replaced.

        Raises:
            PathInUseError: something else than a file is at `path`.
            WriteError: the disk is full, or `path` cannot be written to.
        """
        replace_json(path, self.to_dict())

    def _gain(self, row: Row) -> str:
        return "" if row is self.rows[0] else in_points(self.own.minus(row.evaluation))


def in_points(difference: Interval) -> str:
    """Return a difference of a measure in points, with its interval."""
    return f"{100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
