"""The options for reading documents from files."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO, TextIOWrapper
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from cde_retrievers.corpora.decoding import MAX_CHARACTERS
from cde_retrievers.errors import ConfigurationError, shown

Format = Literal["text", "json", "jsonl", "csv", "parquet", "beir"]
Split = Literal["paragraphs", "headings"]

_COLUMNS: tuple[Format, ...] = ("json", "jsonl", "csv", "parquet", "beir")
_MEANT_FOR: Mapping[str, tuple[Format, ...]] = {
    "text": _COLUMNS,
    "id": _COLUMNS,
    "metadata": _COLUMNS,
    "numbers": ("csv",),
    "delimiter": ("csv",),
    "ids_as_text": ("json", "jsonl", "parquet", "beir"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """The options for reading the files of a source.

    Attributes:
        format: "text" (documents: Markdown, HTML, PDF, Word and others), "json" (an array of objects), "jsonl", "csv",
            "parquet" or "beir"; found from the names if None.
        encoding: of the text in them.
        endings: of the files in a folder that are read; those of the format if empty.
        text: columns that make up the text, joined with a space; "text" if empty, for BEIR "title" and "text".
        id: column of the ids; "id" or "_id" if None and there is one, else file name and line are used.
        metadata: columns to keep as metadata; all others than text and id if None.
        numbers: columns of a CSV file that hold numbers, so that filters can compare them as such.
        delimiter: between the cells of a CSV file; a comma, in .tsv files a tab, if None.
        ids_as_text: write ids that are whole numbers as text; refused otherwise, since 7 and "7" would become one.
        id_prefix: put before every id, to tell sources apart in one index.
        skip_empty: leave out documents without any text; refused otherwise.
        skip_errors: leave out files that cannot be read to their end, and folders; each is logged; refused otherwise.
        split: cut each text into parts that are documents of their own, at "paragraphs" or at "headings".
        chunk_tokens: of a part, the headings above it included; as many as the model reads if None. Without a model to
            count them, words and punctuation marks are counted, and 150 of them are a part if None.
        overlap: tokens that a part repeats of the one before it below the same heading, at most.
        max_words: of a part, in words and punctuation marks, whatever the model; in place of `chunk_tokens`.
        max_characters: of a row, or of a whole text file; 67,108,864 if None. What is longer is refused before it fills
            the memory.
        follow_links: read what symbolic links in a folder lead to. If not, links out of the folder and links to folders
            are left out, which is logged.

    Raises:
        ConfigurationError: an option is impossible, or of the wrong type.
    """

    format: Format | None = None
    encoding: str = "utf-8"
    endings: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    id: str | None = None
    metadata: tuple[str, ...] | None = None
    numbers: tuple[str, ...] = ()
    delimiter: str | None = None
    ids_as_text: bool = False
    id_prefix: str = ""
    skip_empty: bool = False
    skip_errors: bool = False
    split: Split | None = None
    chunk_tokens: int | None = None
    overlap: int = 0
    max_words: int | None = None
    max_characters: int | None = None
    follow_links: bool = False

    def __post_init__(self) -> None:
        _check_one_of("format", self.format, (None, *get_args(Format)))
        _check_one_of("split", self.split, (None, *get_args(Split)))
        self._check_types()
        for setting in ("chunk_tokens", "max_words", "max_characters"):
            found = getattr(self, setting)
            if found is not None and not 1 <= found < sys.maxsize:
                raise ConfigurationError(
                    f"{setting} must be a positive whole number below {sys.maxsize}, found {shown(found)}"
                )
        self._check_parts()
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ConfigurationError(
                f"delimiter must be one character other than a quote or a line end, found {self.delimiter!r}"
            )
        _check_encoding(self.encoding)

    def _check_parts(self) -> None:
        lengths = [name for name in ("chunk_tokens", "max_words", "overlap") if getattr(self, name)]
        if lengths and self.split is None:
            raise ConfigurationError(
                f"{lengths[0]} is about the parts of a split document; give split='paragraphs' or split='headings' too"
            )
        if self.chunk_tokens is not None and self.max_words is not None:
            raise ConfigurationError(
                "chunk_tokens and max_words both say how long a part is; give one of them (--chunk-tokens, --max-words)"
            )
        if self.overlap < 0:
            raise ConfigurationError(f"overlap must be a number of tokens, 0 or more, found {self.overlap}")

    def _check_types(self) -> None:
        """Validate every option by its annotation; a list becomes a tuple."""
        kinds = get_type_hints(type(self))
        for field in fields(self):
            found = getattr(self, field.name)
            found = tuple(found) if isinstance(found, list) else found
            try:
                TypeAdapter(kinds[field.name]).validate_python(found, strict=True)
            except ValidationError as error:
                raise ConfigurationError(
                    f"{field.name} is {shown(found)}: {error.errors()[0]['msg']}; give another value, or leave it out"
                ) from error
            object.__setattr__(self, field.name, found)

    @property
    def counts_tokens(self) -> bool:
        """Whether a model is needed to read documents: to count the tokens of their parts."""
        return self.split is not None and self.max_words is None

    @property
    def record_limit(self) -> int:
        """Characters of a row or of a text file, at most."""
        return self.max_characters or MAX_CHARACTERS

    def check_format(self, found: Format) -> None:
        """Raise ConfigurationError if an option does not apply to files of this format."""
        for setting, formats in _MEANT_FOR.items():
            if getattr(self, setting) and found not in formats:
                raise ConfigurationError(
                    f"{setting}= is for {' and '.join(formats)}, but the documents are {found}; leave it out, or name "
                    f"another format with format= (--format)"
                )


def _check_encoding(encoding: str) -> None:
    try:
        TextIOWrapper(BytesIO(), encoding=encoding)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"encoding {encoding!r} is unknown, or not a text encoding; use one that Python knows, such as 'utf-8' or "
            f"'latin-1'"
        ) from error


def _check_one_of(setting: str, found: Any, known: tuple[Any, ...]) -> None:
    if not isinstance(found, str | None) or found not in known:
        raise ConfigurationError(f"{setting} {shown(found)} is unknown; use one of {[name for name in known if name]}")
