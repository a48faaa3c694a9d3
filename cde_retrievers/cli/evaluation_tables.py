"""The inputs of `eval` and `report`, and their results as tables. Loads torch; import it in a command only."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cde_retrievers.cli.options.evaluation import ComparisonOptions, EvaluationSource
from cde_retrievers.cli.reading import read_once
from cde_retrievers.cli.session import Session
from cde_retrievers.corpora import CheckedCorpus
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.evaluation.bm25 import BM25
from cde_retrievers.evaluation.comparison import Comparison, in_points
from cde_retrievers.evaluation.contexts import NamedCorpus
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.known_item_queries import known_items
from cde_retrievers.evaluation.metrics import MAIN, MEASURES
from cde_retrievers.evaluation.question_set import own_questions
from cde_retrievers.report.findings import headline, with_caveat
from cde_retrievers.util.counted import counted

_SPLIT = "test"


def inputs(
    source: EvaluationSource, choice: ComparisonOptions, run: Session, encoder: Callable[[], ContextualEncoder]
) -> tuple[RetrievalDataset, dict[str, Any]]:
    """Return the data to search, and the contexts and other searchers for `compare`.

    Args:
        source: the documents.
        choice: what to compare.
        run: where to say what was found.
        encoder: loads the model whose tokens are counted where documents are split.

    Raises:
        BadParameter: an option says nothing about this source.
        CDEError: something cannot be read, or no query can be made of it.
    """
    data = _searched(source, choice, run, encoder)
    compared = {
        **({"modes": [name.value for name in dict.fromkeys(choice.mode)]} if choice.mode else {}),
        "foreign": _other_corpora(source, choice.context_of or [], run, encoder),
        "sizes": choice.size or [],
        "strategies": [name.value for name in choice.strategy or []],
        "seeds": choice.seed or [],
        "others": [BM25()] if choice.bm25 else [],
    }
    return replace(data, name=source.source.resolve().name), compared


def _searched(
    source: EvaluationSource, choice: ComparisonOptions, run: Session, encoder: Callable[[], ContextualEncoder]
) -> RetrievalDataset:
    if choice.queries is not None:
        return _asked(read_once(source, run, encoder=encoder), choice.queries, choice.qrels, run)
    return _judged(source, choice, run) if source.has_judgements else _made(source, choice, run, encoder)


def _asked(documents: CheckedCorpus, queries: Path, qrels: str | None, run: Session) -> RetrievalDataset:
    data = own_questions(documents, queries, qrels)
    run.say(
        f"{queries}: {counted(len(data.judged.queries), 'question')}{'' if qrels is None else ' with a marked answer'}"
    )
    if data.note:
        run.warn(data.note)
    return data


def _judged(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> RetrievalDataset:
    data = RetrievalDataset.read(source.source, choice.qrels or _SPLIT)
    run.say(
        f"{source.source}: {counted(len(data.texts), 'document')}, {counted(len(data.judged.queries), 'judged query')}"
    )
    return data


def _made(
    source: EvaluationSource, choice: ComparisonOptions, run: Session, encoder: Callable[[], ContextualEncoder]
) -> RetrievalDataset:
    # Else the title, which is to ask, would stand at the head of its own answer.
    apart = replace(source, text=["text"]) if not source.text and source.corpus().format == "beir" else source
    data = known_items(read_once(apart, run, encoder=encoder))
    was = "was" if len(data.judged.queries) == 1 else "were"
    run.say(f"{source.source}: no judged queries are there, so {len(data.judged.queries):,} {was} {data.note}")
    return data


def _other_corpora(
    source: EvaluationSource, others: list[Path], run: Session, encoder: Callable[[], ContextualEncoder]
) -> list[NamedCorpus]:
    """Return the other documents, read as the source is; of a BEIR folder, documents without text are left out."""
    names = [other.resolve().name for other in others]
    found = []
    for other, name in zip(others, names, strict=True):
        reading = replace(source, source=other, skip_empty=source.skip_empty or source.has_judgements)
        texts = tuple(read_once(reading, run, encoder=encoder).texts())
        found.append(NamedCorpus(name if names.count(name) == 1 else str(other), texts))
    return found


def summary(data: RetrievalDataset, comparison: Comparison) -> dict[str, Any]:
    """Return means, intervals and paired differences of every row, as JSON values."""
    rows = []
    for row in comparison.rows:
        means = {name: row.evaluation.mean(name).to_dict() for name in MEASURES}
        gain = comparison.own.minus(row.evaluation)
        compared = {} if row is comparison.rows[0] else {**gain.to_dict(), "significant": gain.is_significant}
        rows.append({**row.labels(), **means, "first_row_gains": compared})
    return {
        "data": data.name,
        "documents": len(data.texts),
        "queries": len(data.judged.queries),
        "queries_are_made": data.is_made,
        "note": data.note,
        "model": comparison.model,
        "headline": headline(comparison, data.caveat).title,
        "rows": rows,
    }


def lines(data: RetrievalDataset, comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the summary as a table and in words."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(Text(data.name), overflow="fold")
    for name in (*MEASURES, f"first row gains, {MAIN}"):
        table.add_column(name, justify="right")
    for row in comparison.rows:
        cells = [f"{100 * float(row.evaluation.values[name].mean()):.1f}" for name in MEASURES]
        gain = comparison.own.minus(row.evaluation)
        told = "" if row is comparison.rows[0] else in_points(gain)
        # As Text: a name with brackets is not markup.
        table.add_row(Text(row.label), *cells, Text(told, style="bold" if gain.is_significant else ""))
    yield table
    said = headline(comparison)
    # One paragraph, so the caveat stands once.
    yield f"{with_caveat(said.title, data.caveat)}. {said.verdict}"
