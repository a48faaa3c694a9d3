"""`eval` and `report`: what context does for a corpus."""

import shlex
from dataclasses import replace as with_changes
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Option

from cde_retrievers.cli.commands.build import refuse_inside
from cde_retrievers.cli.options.common import ModelOptions, OutputOptions
from cde_retrievers.cli.options.evaluation import ComparisonOptions, EvaluationSource
from cde_retrievers.cli.options.groups import arguments_of
from cde_retrievers.cli.session import session
from cde_retrievers.errors import CDEError, EvaluationDataError, PathInUseError
from cde_retrievers.util.imports import require

if TYPE_CHECKING:
    from cde_retrievers.cli.session import Session
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.evaluation.dataset import RetrievalDataset

_WAYS_OUT: dict[type[CDEError], str] = {
    EvaluationDataError: "judged queries come in a BEIR folder with queries.jsonl and qrels/"
}

_UNMARKED = (
    "nothing says which hits are right for {queries}; mark them in the page that `cde-retrievers report SOURCE "
    "--queries {queries} --out marking.html` writes, and give the file that the page saves"
)


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

    By vectors and words, by vectors alone and by words alone, and by the rank fusion that is usually built by hand.
    Differences come with their 95 % bootstrap interval, paired query by query.
    """
    with session(output) as run:
        _check(run, reading, choice, out, replace)
        if choice.queries is not None and choice.qrels is None:
            raise BadParameter(_UNMARKED.format(queries=choice.queries), param_hint="--qrels")
        from cde_retrievers.cli.evaluation_tables import inputs, lines, summary
        from cde_retrievers.cli.loading import load_encoder, say_cut_texts
        from cde_retrievers.encoder.cut_texts import counted_cut_texts
        from cde_retrievers.evaluation.comparison_run import compare
        from cde_retrievers.storage.disk_errors import disk_errors_explained

        load = cache(partial(load_encoder, model))
        encoder = load()
        data, compared = inputs(reading, choice, run, load)
        say_cut_texts(encoder, data.texts, run, reading)
        with counted_cut_texts():
            comparison = compare(encoder, data, **compared, show_progress=run.show_progress)
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

    With --queries and no --qrels, the page shows the first hits of every search for your questions, to mark the right
    ones and save them.
    """
    with session(output) as run:
        _check(run, reading, choice, out, replace)
        require("jinja2", "a report", extra="eval")
        others = (choice.context_of, choice.size, choice.strategy, choice.seed)
        if choice.queries is not None and choice.qrels is None and any(others):
            raise BadParameter("the page for marking shows no other contexts; give it together with --qrels")
        from cde_retrievers.cli.evaluation_tables import inputs, lines, summary
        from cde_retrievers.cli.loading import load_encoder, say_cut_texts
        from cde_retrievers.encoder.cut_texts import counted_cut_texts
        from cde_retrievers.report import report as write_report

        load = cache(partial(load_encoder, model))
        encoder = load()
        data, compared = inputs(reading, choice, run, load)
        say_cut_texts(encoder, data.texts, run, reading)
        with counted_cut_texts():
            if choice.queries is not None and choice.qrels is None:
                _write_marking_page(run, encoder, data, compared, out, _with_marks(reading, model, choice))
                return
            comparison = write_report(encoder, data, out, **compared, show_progress=run.show_progress)
        told = f"{out}: open it in a browser"
        run.answer({**summary(data, comparison), "report": str(out)}, *lines(data, comparison), told)


def _write_marking_page(
    run: "Session",
    encoder: "ContextualEncoder",
    data: "RetrievalDataset",
    compared: "dict[str, Any]",
    out: Path,
    command: str,
) -> None:
    """Write the page on which the right hits are marked, and say what to do with it: give the command."""
    from cde_retrievers.report import marking_page

    modes = {"modes": compared["modes"]} if "modes" in compared else {}
    others = compared["others"]
    marking_page(encoder, data, out, others=others, **modes, command=command, show_progress=run.show_progress)
    run.answer(
        {
            "data": data.name,
            "documents": len(data.texts),
            "queries": len(data.judged.queries),
            "report": str(out),
            "command": command,
        },
        f"{out}: open it in a browser, mark the right hits and save them; then evaluate with them:",
        command,
    )


def _with_marks(reading: EvaluationSource, model: ModelOptions, choice: ComparisonOptions) -> str:
    """Return the command that evaluates with the marks what was searched for the page."""
    given = with_changes(choice, qrels="marked.tsv")
    return shlex.join(
        ["cde-retrievers", "eval", *(part for group in (reading, model, given) for part in arguments_of(group))]
    )


def _check(
    run: "Session", reading: EvaluationSource, choice: ComparisonOptions, out: Path | None, replace: bool
) -> None:
    """Refuse what cannot be read or written, before torch is imported and documents are read, which takes a while."""
    from cde_retrievers.corpora.questions import check_questions

    run.way_out = _WAYS_OUT
    for package in ("ir_measures", *(("bm25s", "Stemmer") if choice.bm25 else ())):
        require(package, "this comparison", extra="eval")
    if choice.queries is not None:
        check_questions(choice.queries, choice.qrels)
    elif choice.qrels is not None and not reading.has_judgements:
        raise BadParameter(f"{reading.source} has no judgements (qrels/); leave it out", param_hint="--qrels")
    if choice.queries is None and reading.has_judgements:
        from cde_retrievers.cli.judgements import check_judgements

        reading.refuse_reading_options("a BEIR folder with judgements is read as it is, so leave it out")
        check_judgements(reading.source, choice.qrels or "test")
    else:
        reading.corpus()
    for other in choice.context_of or []:
        with_changes(reading, source=other).corpus()
    if out is not None:
        _check_target(reading.source, out, replace)


def _check_target(source: Path, out: Path, replace: bool) -> None:
    from cde_retrievers.storage.atomic import checked_target

    refuse_inside(out, source)
    checked_target(out)
    if out.exists() and not replace:
        raise PathInUseError(f"{out} already exists; give another --out, or --replace it")
