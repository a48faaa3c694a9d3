"""`eval` and `report`: what context does for a corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from cde_retrievers.cli.commands.build import refuse_inside
from cde_retrievers.cli.options.common import ModelOptions, OutputOptions
from cde_retrievers.cli.options.evaluation import ComparisonOptions, EvaluationSource
from cde_retrievers.cli.session import session
from cde_retrievers.errors import CDEError, EvaluationDataError, PathInUseError

if TYPE_CHECKING:
    from cde_retrievers.cli.session import Session

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from typer import BadParameter

from cde_retrievers.cli.commands.build import read_once
from cde_retrievers.cli.session import Session
from cde_retrievers.evaluation.comparison import Comparison, in_points
from cde_retrievers.evaluation.contexts import NamedCorpus
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.known_item_queries import known_items
from cde_retrievers.evaluation.metrics import MAIN, MEASURES
from cde_retrievers.evaluation.searchers import BM25
from cde_retrievers.report.findings import headline
from cde_retrievers.util.imports import require

_WAYS_OUT: dict[type[CDEError], str] = {
    EvaluationDataError: "judged queries come in a BEIR folder with queries.jsonl and qrels/"
}


def eval(
    reading: EvaluationSource,
    model: ModelOptions,
    choice: ComparisonOptions,
    output: OutputOptions,
    out: Annotated[
        Path | None, Option(help="File to write everything into as JSON, query by query.", show_default=False)
    ] = None,
    replace: Annotated[bool, Option("--replace", help="Replace a file that is there already.")] = False,
) -> None:
    """Search SOURCE with and without context, and say how well: nDCG@10, Recall@100, MRR@10 and MAP.

    Differences come with their 95 % bootstrap interval, paired query by query.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import load_encoder
        from cde_retrievers.evaluation.comparison_plan import compare
        from cde_retrievers.storage.disk_errors import disk_errors_explained

        _prepare(run, reading.source, out, replace)
        data, compared = inputs(reading, choice, run)
        comparison = compare(load_encoder(model), data, **compared, show_progress=run.show_progress)
        if out is not None:
            with disk_errors_explained(out, "the result was not written"):
                comparison.save(out)
        found = summary(data, comparison)
        told = [] if out is None else [f"everything, query by query, is in {out}"]
        run.answer({**found, "out": out and str(out)}, *lines(data, comparison), *told)


def report(
    reading: EvaluationSource,
    out: Annotated[Path, Option(help="File to write the page into.", show_default=False)],
    model: ModelOptions,
    choice: ComparisonOptions,
    output: OutputOptions,
    replace: Annotated[bool, Option("--replace", help="Replace a file that is there already.")] = False,
) -> None:
    """Do what `eval` does, and write a page about it to open in a browser.

    It shows the figures, the queries won and lost, and the documents that the context is made of. It is one HTML file
    without scripts, which loads nothing. It holds texts of the documents and of the queries.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import load_encoder
        from cde_retrievers.report import report as write_report

        _prepare(run, reading.source, out, replace)
        data, compared = inputs(reading, choice, run)
        comparison = write_report(load_encoder(model), data, out, **compared, show_progress=run.show_progress)
        told = f"{out}: open it in a browser"
        run.answer({**summary(data, comparison), "report": str(out)}, *lines(data, comparison), told)


def _prepare(run: "Session", source: Path, out: Path | None, replace: bool) -> None:
    """Refuse what cannot be written, before anything is read."""
    run.way_out = _WAYS_OUT
    if out is None:
        return
    from cde_retrievers.report.writer import checked_target

    refuse_inside(out, source)
    checked_target(out)
    if out.exists() and not replace:
        raise PathInUseError(f"{out} already exists; give another --out, or --replace it")


_SPLIT = "test"


def inputs(
    source: EvaluationSource, choice: ComparisonOptions, run: Session
) -> tuple[RetrievalDataset, dict[str, Any]]:
    """The data to search, and the contexts and other searchers for `compare`.

    Raises:
        BadParameter: an option says nothing about this source.
        MissingDependencyError: a package is not installed that would be needed later; names the extra.
        CDEError: something cannot be read, or no query can be made of it.
    """
    for package in ("ir_measures", *(("bm25s", "Stemmer") if choice.bm25 else ())):
        require(package, "this comparison", extra="eval")
    data = _judged(source, choice, run) if _has_judgements(source.source) else _made(source, choice, run)
    compared = {
        "foreign": _other_corpora(source, choice.context_of or [], run),
        "sizes": choice.size or [],
        "strategies": [name.value for name in choice.strategy or []],
        "seeds": choice.seed or [],
        "others": [BM25()] if choice.bm25 else [],
    }
    return replace(data, name=source.source.resolve().name), compared


def _has_judgements(source: Path) -> bool:
    return (source / "qrels").is_dir()


def _judged(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> RetrievalDataset:
    source.refuse_reading_options("a BEIR folder with judgements is read as it is, so leave it out")
    data = RetrievalDataset.read(source.source, choice.qrels or _SPLIT)
    run.say(f"{source.source}: {len(data.texts):,} documents, {len(data.judged.queries):,} judged queries")
    return data


def _made(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> RetrievalDataset:
    if choice.qrels:
        raise BadParameter(f"{source.source} has no judgements (qrels/); leave it out", param_hint="--qrels")
    # Else the title, which is to ask, would stand at the head of its own answer.
    apart = replace(source, text=["text"]) if not source.text and source.corpus().format == "beir" else source
    data = known_items(read_once(apart, run))
    run.say(f"{source.source}: no judged queries are there, so {len(data.judged.queries):,} were {data.note}")
    return data


def _other_corpora(source: EvaluationSource, others: list[Path], run: Session) -> list[NamedCorpus]:
    """Other documents, read as the source is; of a BEIR folder, documents without text are left out as there."""
    names = [other.resolve().name for other in others]
    found = []
    for other, name in zip(others, names, strict=True):
        reading = replace(source, source=other, skip_empty=source.skip_empty or _has_judgements(source.source))
        texts = tuple(read_once(reading, run).texts())
        found.append(NamedCorpus(name if names.count(name) == 1 else str(other), texts))
    return found


def summary(data: RetrievalDataset, comparison: Comparison) -> dict[str, Any]:
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


def lines(data: RetrievalDataset, comparison: Comparison) -> Iterator[RenderableType]:
    """The same as a table, and in words."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(Text(data.name), overflow="fold")
    for name in (*MEASURES, f"own context gains, {MAIN}"):
        table.add_column(name, justify="right")
    for row in comparison.rows:
        cells = [f"{100 * float(row.evaluation.values[name].mean()):.1f}" for name in MEASURES]
        gain = comparison.own.minus(row.evaluation)
        told = "" if row is comparison.rows[0] else in_points(gain)
        # As Text: a name with brackets is not markup.
        table.add_row(Text(row.label), *cells, Text(told, style="bold" if gain.excludes_zero else ""))
    yield table
    said = headline(comparison)
    yield f"{said.title}. {said.verdict}"
    if data.is_made:
        yield f"The queries were {data.note}"
