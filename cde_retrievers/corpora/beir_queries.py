"""The queries of a BEIR folder, in `queries.jsonl` or `queries.jsonl.gz`."""

from collections.abc import Container, Iterator
from pathlib import Path

from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import BEIR_QUERIES, json_rows
from cde_retrievers.corpora.paths import is_file, refuse_link_out
from cde_retrievers.corpora.records import Row
from cde_retrievers.errors import CorpusFileError, shown
from cde_retrievers.validation.numbers import is_whole

_IDS = ("_id", "id")


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


def query_texts(folder: Path, needed: Container[str]) -> dict[str, str]:
    """Return the texts of the queries that are needed, by id.

    Raises:
        CorpusFileError: the file is missing, a row has no id, two rows have one id, or a query that is needed has no
            text; names the line.
    """
    queries: dict[str, str] = {}
    places: dict[str, str] = {}
    for row in query_rows(folder):
        identity = query_id(row)
        if identity in places:
            raise CorpusFileError(
                f"{row.place} has the id {identity!r}, which the query at {places[identity]} already has; give each "
                f"its own, or remove one of them"
            )
        places[identity] = row.place
        if identity in needed:
            queries[identity] = _query_text(row)
    return queries


def query_id(row: Row) -> str:
    """Return the id of a query, in the column "_id", or else "id"; a whole number becomes text.

    Raises:
        CorpusFileError: there is neither column, or no id in it; names the line.
    """
    column = next((name for name in _IDS if name in row.values), None)
    if column is None:
        raise CorpusFileError(
            f"{row.place} has no column '_id', only {shown(sorted(row.values))}; rename the column of the queries' ids"
        )
    identity = row.values[column]
    if is_whole(identity) or (isinstance(identity, str) and identity):
        return str(identity)
    raise CorpusFileError(f"{row.place} has {shown(identity)} in column {column!r}; an id is a text or a whole number")


def _query_text(row: Row) -> str:
    if "text" not in row.values:
        raise CorpusFileError(
            f"{row.place} has no column 'text', only {shown(sorted(row.values))}; rename the column of the queries"
        )
    text = row.values["text"]
    if not isinstance(text, str) or not text.strip():
        raise CorpusFileError(
            f"{row.place}: the query's text is {shown(text)}; give a text in column 'text', or remove its judgements"
        )
    return text
