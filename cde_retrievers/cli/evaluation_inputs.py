"""From the options of `eval` and `report` to what is compared. Loads torch; import it in a command only."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from typer import BadParameter

from cde_retrievers.cli.evaluation_options import ComparisonOptions, EvaluationSource
from cde_retrievers.cli.making import read_once
from cde_retrievers.cli.session import Session
from cde_retrievers.evaluation.contexts import NamedCorpus
from cde_retrievers.evaluation.known_item_queries import known_items
from cde_retrievers.evaluation.lexical import BM25
from cde_retrievers.optional import require
from cde_retrievers.retrieval_set import RetrievalSet

_SPLIT = "test"


def inputs(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> tuple[RetrievalSet, dict[str, Any]]:
    """What is searched, and what `compare` is told of contexts and other searchers.

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


def _judged(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> RetrievalSet:
    source.refuse_reading_options("a BEIR folder with judgements is read as it is, so leave it out")
    data = RetrievalSet.read(source.source, choice.qrels or _SPLIT)
    run.say(f"{source.source}: {len(data.texts):,} documents, {len(data.judged.queries):,} judged queries")
    return data


def _made(source: EvaluationSource, choice: ComparisonOptions, run: Session) -> RetrievalSet:
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
