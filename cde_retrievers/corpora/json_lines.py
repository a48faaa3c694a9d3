"""Rows of JSONL files: one JSON object a line."""

import json
from collections.abc import Iterator
from typing import NoReturn

from cde_retrievers.corpora.decoding import open_text
from cde_retrievers.corpora.record import File, Row
from cde_retrievers.errors import CorpusFileError


def json_rows(file: File, encoding: str) -> Iterator[Row]:
    """The objects of the file; blank lines are passed over.

    Raises:
        CorpusFileError: the file cannot be read or decoded, or a line is no JSON object; names the line.
    """
    with open_text(file.path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise CorpusFileError(f"{file.path}:{number} is no JSON: {error}; repair or remove the line") from error
            if not isinstance(values, dict):
                raise CorpusFileError(
                    f"{file.path}:{number} is a JSON {type(values).__name__}; every line must be an object, with a "
                    f'value for each column: {{"text": "..."}}'
                )
            yield Row(file, number, values)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
