"""The queries and judgements of a BEIR folder."""

from collections.abc import Container, Iterator
from pathlib import Path

from cde_retrievers.corpora.finding import BEIR_QUERIES
from cde_retrievers.corpora.json_lines import json_rows
from cde_retrievers.corpora.reading import Reading
from cde_retrievers.corpora.record import File, Row
from cde_retrievers.corpora.tables import csv_rows
from cde_retrievers.errors import CorpusFileError
from cde_retrievers.judged import JudgedQueries

_COLUMNS = ("query-id", "corpus-id", "score")


def judged_queries(folder: str | Path, documents: Container[object], split: str = "test") -> JudgedQueries:
    """The judged queries of a folder with `queries.jsonl` (or .gz) and `qrels/<split>.tsv`.

    Args:
        folder: in BEIR's layout.
        documents: the ids that can be found; judgements of others are left out, and queries that have no others.
        split: which judgements.

    Raises:
        CorpusFileError: a file is missing or not as it should be, or judges none of the documents.
    """
    folder = Path(folder)
    relevant: dict[str, dict[str, int]] = {}
    for row in _qrels(folder, split):
        query, document, score = (row.values.get(column) for column in _COLUMNS)
        if not isinstance(score, int) or not query or not document:
            raise CorpusFileError(f"{row.place} must have {', '.join(_COLUMNS)}, found {dict(row.values)}")
        if document in documents:
            relevant.setdefault(query, {})[document] = score
    if not relevant:
        raise CorpusFileError(
            f"{folder}: none of the documents judged for {split!r} is in the index; give the folder that the index was "
            f"made from, indexed without splitting"
        )
    queries = {}
    for row in json_rows(_file(folder, BEIR_QUERIES), "utf-8"):
        if row.values.get("_id") in relevant:
            queries[str(row.values["_id"])] = str(row.values.get("text", ""))
    return JudgedQueries(queries, {query: relevant[query] for query in queries})


def _qrels(folder: Path, split: str) -> Iterator[Row]:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        there = sorted(found.stem for found in folder.glob("qrels/*.tsv"))
        raise CorpusFileError(f"{folder} has no judgements qrels/{split}.tsv, it has {there}; name another split")
    return csv_rows(File(path, path.name), Reading(numbers=("score",)))


def _file(folder: Path, names: tuple[str, ...]) -> File:
    for name in names:
        if (folder / name).is_file():
            return File(folder / name, name)
    raise CorpusFileError(f"{folder} has no {' or '.join(names)}; give a folder in BEIR's layout")
