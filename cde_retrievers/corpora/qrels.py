"""The queries and judgements of a BEIR folder."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.corpora.csv_rows import csv_rows
from cde_retrievers.corpora.formats import BEIR_QUERIES, json_rows
from cde_retrievers.corpora.paths import is_file, refuse_link_out
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.corpora.records import File, Row
from cde_retrievers.errors import CorpusFileError, shown
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.validation.paths import checked_path

_COLUMNS = ("query-id", "corpus-id", "score")
_HIGHEST_GRADE = 1_000_000


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
        documents: the ids that can be found; judgements of others are left out, and queries that have no others.
        split: which judgements.

    Raises:
        CorpusFileError: a file is missing or not as it should be, or judges none of the documents.
    """
    folder = checked_path(folder, "folder")
    relevant: dict[str, dict[str, int]] = {}
    for judgement in judgements(folder, split):
        if judgement.document in documents:
            relevant.setdefault(judgement.query, {})[judgement.document] = judgement.grade
    if not relevant:
        raise CorpusFileError(
            f"{folder}: none of the documents judged for {split!r} is among those to search; give the folder "
            f"that they come from, read without splitting"
        )
    queries = {}
    for row in query_rows(folder):
        identity = str(row.values.get("_id"))  # a whole number in some sets
        if identity in relevant:
            queries[identity] = _query_text(row)
    return JudgedQueries(queries, {query: relevant[query] for query in queries})


def judgements(folder: Path, split: str) -> Iterator[Judgement]:
    """Yield the rows of `qrels/<split>.tsv`, in order.

    Raises:
        CorpusFileError: the file is missing, or a row lacks an id or a grade that is a whole number; names the row.
    """
    path = judgements_file(folder, split)
    if not is_file(path):
        there = sorted(found.stem for found in folder.glob("qrels/*.tsv"))
        raise CorpusFileError(f"{folder} has no judgements qrels/{split}.tsv, only {there}; name another split")
    refuse_link_out(path, folder)
    for row in csv_rows(File(path, path.name), ReadOptions()):
        query, document, score = (row.values.get(column) for column in _COLUMNS)
        grade = _whole_number(score)
        if not query or not document or grade is None:
            raise CorpusFileError(f"{row.place} must have {', '.join(_COLUMNS)}, found {shown(dict(row.values))}")
        yield Judgement(row.place, query, document, grade)


def judgements_file(folder: Path, split: str) -> Path:
    """Return the path of a split's judgements; they may not exist."""
    return folder / "qrels" / f"{split}.tsv"


def query_rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of `queries.jsonl` or `queries.jsonl.gz`.

    Raises:
        CorpusFileError: the file does not exist or cannot be read; names the line.
    """
    for name in BEIR_QUERIES:
        if is_file(folder / name):
            refuse_link_out(folder / name, folder)
            return json_rows(File(folder / name, name))
    raise CorpusFileError(f"{folder} has no {' or '.join(BEIR_QUERIES)}; give a folder in BEIR's layout")


def _query_text(row: Row) -> str:
    text = row.values.get("text")
    if not isinstance(text, str):
        raise CorpusFileError(f"{row.place}: the query's text is {shown(text)}; give a text, or remove its judgements")
    return text


def _whole_number(cell: str | None) -> int | None:
    """Return the number, if there is one and it has an ordinary size."""
    try:
        number = int(cell or "")
    except ValueError:
        return None
    return number if abs(number) <= _HIGHEST_GRADE else None
