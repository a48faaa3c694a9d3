"""Pairs from BEIR folders: every document judged relevant to a query is a positive of it."""

import logging
from collections.abc import Iterator
from pathlib import Path

from cde_retrievers.corpora import ReadOptions
from cde_retrievers.corpora.beir_queries import query_texts
from cde_retrievers.corpora.discovery import find_source, is_beir
from cde_retrievers.corpora.formats import json_rows
from cde_retrievers.corpora.paths import is_file, unreadable
from cde_retrievers.corpora.qrels import Judgement, judgements, judgements_file
from cde_retrievers.corpora.records import to_record
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.training.data.pairs import Pair, check_pair, domain_name

logger = logging.getLogger(__name__)


def beir_sets(folder: Path, split: str) -> list[Path]:
    """The BEIR sets in `folder` with judgements of the split, by name; other folders are logged.

    Raises:
        TrainingDataError: there is none.
    """
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise unreadable(folder, error) from error
    sets = [path for path in inside if is_beir(path) and is_file(judgements_file(path, split))]
    if not sets:
        raise TrainingDataError(
            f"{folder} is not a BEIR folder (corpus.jsonl, queries.jsonl and qrels/{split}.tsv) and holds none; give a "
            f"file of pairs (.jsonl), or name another split"
        )
    left_out = [path.name for path in inside if path not in sets]
    if left_out:
        logger.warning(
            "%s: left out, since they are not BEIR folders with qrels/%s.tsv: %s", folder, split, ", ".join(left_out)
        )
    return sets


def beir_pairs(folder: Path, split: str, name: str) -> Iterator[Pair]:
    """A pair for every judgement above 0, in the order of the judgements.

    Documents are title and text, as in an index of the folder. Judgements of 0 make no pairs: an irrelevant document
    is not necessarily a hard negative. The number of queries without other judgements is logged.

    Args:
        folder: in BEIR's layout.
        split: which judgements.
        name: of the set: the domain of its documents, followed by the domain in their metadata if there is one.

    Raises:
        TrainingDataError: a judgement names a query or document that is missing, or a document that is repeated or
            without text.
        CorpusFileError, InvalidTextError, InvalidDocumentError: a file is missing or cannot be read, or a query is
            repeated or without text; names the row.
    """
    answers = _answers(folder, split)
    queries = query_texts(folder, {answer.query for answer in answers})
    documents = _documents(folder, {answer.document for answer in answers}, name)
    for answer in answers:
        place = f"{answer.place} (query {answer.query!r}, document {answer.document!r})"
        if answer.query not in queries or answer.document not in documents:
            kind = "document" if answer.query in queries else "query"
            raise TrainingDataError(f"{place}: {folder} has no such {kind}; remove the row or restore the file")
        text, domain = documents[answer.document]
        pair = Pair(queries[answer.query], text, (), domain)
        check_pair(pair, place)
        yield pair


def _answers(folder: Path, split: str) -> list[Judgement]:
    """The judgements above 0, each once."""
    judged: dict[tuple[str, str], Judgement] = {}
    for judgement in judgements(folder, split):
        first = judged.setdefault((judgement.query, judgement.document), judgement)
        if first.grade != judgement.grade:
            raise TrainingDataError(
                f"{judgement.place} judges document {judgement.document!r} for query {judgement.query!r} with "
                f"{judgement.grade}, but {first.place} with {first.grade}; remove one of them"
            )
    answers = [judgement for judgement in judged.values() if judgement.grade > 0]
    unanswered = {query for query, _ in judged} - {answer.query for answer in answers}
    if unanswered:
        logger.warning(
            "%s: %d queries, such as %r, have no document judged above 0 in %r and make no pairs",
            folder, len(unanswered), min(unanswered), split,
        )  # fmt: skip
    return answers


def _documents(folder: Path, needed: set[str], name: str) -> dict[str, tuple[str, str]]:
    """Text and domain by id, only of those needed: a corpus may be larger than the memory."""
    reading = ReadOptions(format="beir", ids_as_text=True)
    documents: dict[str, tuple[str, str]] = {}
    for row in json_rows(find_source(folder, reading).files[0], reading.encoding):
        record = to_record(row, reading, "beir")
        identity = str(record.document.id)
        if identity in documents:
            raise TrainingDataError(
                f"{row.place} has the id {identity!r}, which an earlier document already has; give each its own"
            )
        if identity in needed:
            domain = domain_name(name, record.document.metadata, row.place)
            documents[identity] = (record.document.text, domain)
    return documents
