"""What a comparison came to, for people and for programs. Loads torch; import it in a command only."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cde_retrievers.evaluation.comparison import Comparison, in_points
from cde_retrievers.evaluation.measures import MAIN, MEASURES
from cde_retrievers.report.headline import headline
from cde_retrievers.retrieval_set import RetrievalSet


def summary(data: RetrievalSet, comparison: Comparison) -> dict[str, Any]:
    """Means, intervals and paired differences of every row, of types that JSON has."""
    rows = []
    for row in comparison.rows:
        means = {name: row.evaluation.mean(name).to_dict() for name in MEASURES}
        gain = comparison.own.minus(row.evaluation)
        compared = {} if row is comparison.rows[0] else {**gain.to_dict(), "significant": gain.excludes_zero}
        rows.append({"label": row.label, "group": row.group, "size": row.size, **means, "own_context_gains": compared})
    return {
        "data": data.name,
        "documents": len(data.texts),
        "queries": len(data.judged.queries),
        "queries_are_made": data.is_made,
        "note": data.note,
        "model": comparison.model,
        "headline": headline(comparison).title,
        "rows": rows,
    }


def lines(data: RetrievalSet, comparison: Comparison) -> Iterator[RenderableType]:
    """The same as a table, and in words."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(Text(data.name), overflow="fold")
    for name in (*MEASURES, f"own context gains, {MAIN}"):
        table.add_column(name, justify="right")
    for row in comparison.rows:
        cells = [f"{100 * float(row.evaluation.values[name].mean()):.1f}" for name in MEASURES]
        gain = comparison.own.minus(row.evaluation)
        told = "" if row is comparison.rows[0] else in_points(gain)
        # As Text: a name with brackets is no markup.
        table.add_row(Text(row.label), *cells, Text(told, style="bold" if gain.excludes_zero else ""))
    yield table
    said = headline(comparison)
    yield f"{said.title}. {said.verdict}"
    if data.is_made:
        yield f"The queries were {data.note}"
