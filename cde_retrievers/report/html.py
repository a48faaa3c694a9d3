"""Findings as one HTML page that needs no other file, no script and no network."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import cde_retrievers
from cde_retrievers.evaluation.comparison import Comparison, Row
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.metrics import MEASURES
from cde_retrievers.evaluation.pictures.scatter_plot import NUMBERED
from cde_retrievers.report.figures import figures_of, map_of
from cde_retrievers.report.findings import Findings, headline, points, signed
from cde_retrievers.report.query_changes import changes
from cde_retrievers.util.counted import counted
from cde_retrievers.util.imports import imported

_EXCERPT = 260  # characters of a document
_NAMES = {"ndcg@10": "nDCG@10", "recall@100": "Recall@100", "mrr@10": "MRR@10", "map": "MAP"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """A searcher's figures as words.

    Attributes:
        label: what it is called.
        cells: of every measure, in points.
        gain: what the first row gains over it; empty for itself.
        is_significant: whether that is more than chance.
    """

    label: str
    cells: tuple[str, ...]
    gain: str
    is_significant: bool


def page(findings: Findings) -> str:
    """Return the whole page. Every text of a user is escaped.

    Raises:
        ConfigurationError: the comparison has no row without a context.
        MissingDependencyError: jinja2 or matplotlib is not installed; names the extra.
    """
    data, comparison = findings.data, findings.comparison
    return rendered(
        "page.html",
        data=data,
        model=comparison.model,
        headline=headline(comparison, data.caveat),
        origin=origin(data),
        measures=[_NAMES[name] for name in MEASURES],
        rows=list(_table(comparison)),
        figures=figures_of(findings),
        own=comparison.rows[0].label,
        without=comparison.without.label,
        changes=changes(data, comparison, findings.context.terms),
        context=findings.context,
        chosen=[data.texts[place] for place in findings.context.chosen],
        numbered=NUMBERED,
        map=map_of(findings.context),
        version=cde_retrievers.__version__,
    )


def rendered(name: str, **values: object) -> str:
    """Return a template filled with these values, all of which are escaped, and the style sheet.

    Raises:
        MissingDependencyError: jinja2 is not installed; names the extra.
    """
    jinja2 = imported("jinja2", "a report", extra="eval")
    folder = files("cde_retrievers") / "report" / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"excerpt": excerpt, "signed": signed, "points": points}
    template = environment.from_string((folder / name).read_text(encoding="utf-8"))
    written: str = template.render(style=(folder / "page.css").read_text(encoding="utf-8"), **values)
    return written


def origin(data: RetrievalDataset) -> str:
    """Return the source of the queries, and other notes on them."""
    asked = counted(len(data.judged.queries), "query")
    if data.is_made:
        return (
            f"No judged queries were at hand. {asked} {'was' if len(data.judged.queries) == 1 else 'were'} {data.note}"
        )
    return f"{asked} with judgements that came with the data. {data.note}".rstrip()


def excerpt(text: str, longest: int = _EXCERPT) -> str:
    """Return the beginning of a text, with an ellipsis where it is cut."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    head = line[:longest]
    return f"{head[: head.rfind(' ') + 1].rstrip(' .,;:') or head}…"


def _table(comparison: Comparison) -> Iterator[TableRow]:
    for row in comparison.rows:
        cells = tuple(points(row.evaluation.mean(name).mean) for name in MEASURES)
        if row is comparison.rows[0]:
            yield TableRow(row.label, cells, "", is_significant=False)
        else:
            yield _against_first(row, cells, comparison)


def _against_first(row: Row, cells: tuple[str, ...], comparison: Comparison) -> TableRow:
    gain = comparison.own.minus(row.evaluation)
    words = f"{signed(gain.mean)} ({signed(gain.low)} to {signed(gain.high)})"
    if gain.nonzero == 0:
        words = "no difference"
    return TableRow(row.label, cells, words, gain.is_significant)
