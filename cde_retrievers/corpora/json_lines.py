"""Rows of JSONL files: one JSON object a line."""

from collections.abc import Iterator

from cde_retrievers.corpora.decoding import MAX_CHARACTERS, Lines, open_text
from cde_retrievers.corpora.parsing import parse_json
from cde_retrievers.corpora.record import File, Row
from cde_retrievers.errors import CorpusFileError


def json_rows(file: File, encoding: str = "utf-8", limit: int = MAX_CHARACTERS) -> Iterator[Row]:
    """The objects of the file; blank lines are passed over.

    Args:
        file: to read.
        encoding: of its text.
        limit: characters of a line.

    Raises:
        CorpusFileError: the file cannot be read or decoded, or a line is too long or no JSON object; names the line.
    """
    with open_text(file.path, encoding) as stream:
        lines = Lines(stream, file.path, limit)
        for line in lines:
            lines.begin_record()
            if not line.strip():
                continue
            place = f"{file.path}:{lines.number}"
            try:
                values = parse_json(line)
            except ValueError as error:
                raise CorpusFileError(f"{place} is no JSON: {error}; repair or remove the line") from error
            if not isinstance(values, dict):
                raise CorpusFileError(
                    f"{place} is a JSON {type(values).__name__}; every line must be an object, with a value for each "
                    f'column: {{"text": "..."}}'
                )
            yield Row(file, lines.number, values)
