"""How documents are read from files: what a caller can choose."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cde_retrievers.errors import ConfigurationError

Format = Literal["text", "jsonl", "csv", "parquet", "beir"]
Split = Literal["paragraphs", "headings"]

_WORDS_PER_PART = 150
_COLUMNS: tuple[Format, ...] = ("jsonl", "csv", "parquet", "beir")
_MEANT_FOR: Mapping[str, tuple[Format, ...]] = {
    "text": _COLUMNS,
    "id": _COLUMNS,
    "metadata": _COLUMNS,
    "numbers": ("csv",),
    "delimiter": ("csv",),
    "ids_as_text": ("jsonl", "parquet", "beir"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Choices that hold for all files of a source.

    Attributes:
        format: "text" (and Markdown), "jsonl", "csv", "parquet" or "beir"; found from the names if None.
        encoding: of the text in them.
        endings: of the files in a folder that are read; those of the format if empty.
        text: columns that make up the text, joined with a space; "text" if empty, for BEIR "title" and "text".
        id: column of the ids; "id" or "_id" if None and there is one, else file name and line stand for it.
        metadata: columns to keep as metadata; all others than text and id if None.
        numbers: columns of a CSV file that hold numbers, so that filters can compare them as such.
        delimiter: between the cells of a CSV file; a comma, in .tsv files a tab, if None.
        ids_as_text: write ids that are whole numbers as text; refused otherwise, since 7 and "7" would become one.
        id_prefix: put before every id, to tell sources apart in one index.
        skip_empty: leave out documents without any text; refused otherwise.
        split: cut each text into parts that are documents of their own, at "paragraphs" or at Markdown "headings".
        max_words: of a part, punctuation marks included; 150 if None: almost always fewer than 256 tokens.

    Raises:
        ConfigurationError: a choice is impossible.
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
    split: Split | None = None
    max_words: int | None = None

    def __post_init__(self) -> None:
        _check_one_of("format", self.format, (None, *get_args(Format)))
        _check_one_of("split", self.split, (None, *get_args(Split)))
        if self.max_words is not None and (not isinstance(self.max_words, int) or self.max_words < 1):
            raise ConfigurationError(f"max_words must be a positive whole number, found {self.max_words!r}")
        if self.max_words is not None and self.split is None:
            raise ConfigurationError("max_words is of parts; say where to split, at 'paragraphs' or at 'headings'")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ConfigurationError(f"delimiter must be one character, found {self.delimiter!r}")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ConfigurationError(
                f"encoding {self.encoding!r} is unknown; use one that Python knows, such as 'utf-8' or 'latin-1'"
            ) from error

    @property
    def words_per_part(self) -> int:
        """At most."""
        return self.max_words or _WORDS_PER_PART

    def check_format(self, found: Format) -> None:
        """Raise ConfigurationError if a choice says nothing about files of this format."""
        for setting, formats in _MEANT_FOR.items():
            if getattr(self, setting) and found not in formats:
                raise ConfigurationError(
                    f"{setting}= is for {' and '.join(formats)}, but the documents are {found}; leave it out, or name "
                    f"another format with format= (--format)"
                )


def _check_one_of(setting: str, found: Any, known: tuple[Any, ...]) -> None:
    if found not in known:
        raise ConfigurationError(f"{setting} {found!r} is unknown; use one of {[name for name in known if name]}")
