"""Judgements in the form of BEIR or TREC, and the judged queries of a BEIR folder."""

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cde_retrievers.corpora.beir_queries import query_texts
from cde_retrievers.corpora.csv_rows import csv_rows
from cde_retrievers.corpora.decoding import Lines, open_text
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import BEIR_QUERIES
from cde_retrievers.corpora.paths import is_file, refuse_link_out
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.errors import CorpusFileError, shown
from cde_retrievers.retrieval.judgements import HIGHEST_GRADE, JudgedQueries, whole_grade
from cde_retrievers.validation.paths import checked_path

logger = logging.getLogger(__name__)

_COLUMNS = ("query-id", "corpus-id", "score")
_TREC_CELLS = 4  # query, iteration, document, grade


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judgement: the grade of a document for a query.

    Attributes:
        place: where it is written, for messages.
        query: its id.
        document: its id.
        grade: above 0 for an answer.
    """

    place: str
    query: str
    document: str
    grade: int


def judged_queries(folder: str | Path, documents: Container[object], split: str = "test") -> JudgedQueries:
    """Read the judged queries of a folder with `queries.jsonl` (or .gz) and `qrels/<split>.tsv`.

    Args:
        folder: in BEIR's layout.
        documents: the ids that can be found; judgements of others are left out, and so are queries that have no others.
            How many is logged.
        split: which judgements.

    Raises:
        CorpusFileError: a file is missing or not as it should be, or judges none of the documents.
    """
    folder = checked_path(folder, "folder")
    relevant = relevant_documents(judgements(folder, split), documents, str(folder), f"judged for {split!r}")
    queries = query_texts(folder, relevant)
    missing = sorted(relevant.keys() - queries.keys())
    if not queries:
        raise CorpusFileError(
            f"{folder}: none of the queries judged in qrels/{split}.tsv, such as {missing[0]!r}, is in its "
            f"{BEIR_QUERIES[0]}; restore the file that belongs to these judgements"
        )
    if missing:
        logger.warning(
            "%s: %d judged queries, such as %r, have no text in %s and are left out",
            folder, len(missing), missing[0], BEIR_QUERIES[0],
        )  # fmt: skip
    return JudgedQueries(queries, {query: relevant[query] for query in queries})


def relevant_documents(
    judgements: Iterator[Judgement], documents: Container[object], source: str, judged: str = "judged"
) -> dict[str, dict[str, int]]:
    """Return the grades of judged documents, by document id, by query id.

    Args:
        judgements: all that there are.
        documents: the ids that can be found; judgements of others are left out, and how many is logged.
        source: of the judgements, for messages.
        judged: which of them, for messages.

    Raises:
        CorpusFileError: a document is judged twice, with different grades; or none of the documents is judged.
    """
    relevant: dict[str, dict[str, int]] = {}
    missing = []
    for judgement in judgements:
        if judgement.document not in documents:
            missing.append(judgement)
            continue
        first = relevant.setdefault(judgement.query, {}).setdefault(judgement.document, judgement.grade)
        if first != judgement.grade:
            raise CorpusFileError(
                f"{judgement.place} judges document {judgement.document!r} for query {judgement.query!r} with "
                f"{judgement.grade}, but an earlier row with {first}; remove one of them"
            )
    if not relevant:
        found = f", such as {missing[0].document!r}" if missing else ", since there are none"
        raise CorpusFileError(
            f"{source}: none of the documents {judged} is among those to search{found}; give the documents that the "
            f"judgements belong to, read as they were then"
        )
    if missing:
        logger.warning(
            "%s: %d documents %s, such as %r, are not among those to search, and are left out",
            source, len(missing), judged, missing[0].document,
        )  # fmt: skip
    return relevant


def judgements(folder: Path, split: str) -> Iterator[Judgement]:
    """Yield the rows of `qrels/<split>.tsv`, in order; errors as `judgements_of`.

    Raises:
        CorpusFileError: the file is missing.
    """
    path = judgements_file(folder, split)
    if not is_file(path):
        there = sorted(found.stem for found in folder.glob("qrels/*.tsv"))
        raise CorpusFileError(f"{folder} has no judgements qrels/{split}.tsv, only {there}; name another split")
    refuse_link_out(path, folder)
    return judgements_of(path)


def judgements_of(path: Path) -> Iterator[Judgement]:
    """Yield the rows of a file of judgements, in order.

    It is a TSV file whose first line names the columns query-id, corpus-id and score, as in BEIR. Without that line it
    has the same three cells, or TREC's four: query, a number that is not read, document, grade.

    Raises:
        CorpusFileError: the file cannot be read, or a row lacks an id or a grade that is a whole number; names the row.
    """
    for place, cells in _judgement_cells(path):
        query, document, score = cells
        grade = _grade(score)
        if not query or not document or grade is None:
            found = dict(zip(_COLUMNS, cells, strict=True))
            raise CorpusFileError(
                f"{place} must have {', '.join(_COLUMNS)}, found {shown(found)}; a score is a whole number of at most "
                f"{HIGHEST_GRADE:,}"
            )
        yield Judgement(place, query, document, grade)


def _judgement_cells(path: Path) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """Yield place, and query, document and grade of each row."""
    file, head = File(path, path.name), _first_line(path)
    if set(_COLUMNS) <= set(head.split("\t")):
        for row in csv_rows(file, ReadOptions()):
            query, document, score = (row.values.get(column) for column in _COLUMNS)
            yield row.place, (query, document, score)
        return
    if _without_head(head) is None:
        raise CorpusFileError(
            f"{path}:1 must name the columns {', '.join(_COLUMNS)}, with tabs between them, found {shown(head)}; name "
            f"them so, or give TREC's form: query, 0, document and grade in each line"
        )
    with open_text(path, ReadOptions().encoding) as stream:
        lines = Lines(stream, path, ReadOptions().record_limit)
        for line in lines:
            lines.begin_record()
            if line.strip():
                cells = _without_head(line)
                yield f"{path}:{lines.number}", cells or (line.strip(), None, None)


def _first_line(path: Path) -> str:
    with open_text(path, ReadOptions().encoding) as stream:
        for line in Lines(stream, path, ReadOptions().record_limit):
            if line.strip():
                return line.rstrip("\r\n")
    return ""


def _without_head(line: str) -> tuple[str, str, str] | None:
    """Return query, document and grade of a line in a file without a head; None if it has other cells."""
    cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
    if len(cells) == _TREC_CELLS:
        del cells[1]
    if len(cells) != len(_COLUMNS) or _grade(cells[2]) is None:
        return None
    return cells[0], cells[1], cells[2]


def judgements_file(folder: Path, split: str) -> Path:
    """Return the path of a split's judgements; they may not exist."""
    return folder / "qrels" / f"{split}.tsv"


def _grade(cell: str | None) -> int | None:
    """Return the whole number that a cell holds, such as 1 for "1.0"; None if there is none, or it is out of range."""
    for read in (int, float):
        try:
            return whole_grade(read(cell or ""))
        except ValueError:  # also of numbers with more than 4,300 digits
            continue
    return None
