"""SOURCE, and the options that say how it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, BadParameter, Option

if TYPE_CHECKING:
    from cde_retrievers.corpora import Corpus, ReadOptions

Format = Literal["text", "json", "jsonl", "csv", "parquet", "beir"]
Split = Literal["paragraphs", "headings", "none"]

_reading = partial(Option, rich_help_panel="How the source is read")

AsGiven = Annotated[
    bool, Option("--as-given", help="Read SOURCE by the options of this command alone, not as the index's sources.")
]


@dataclass(frozen=True)
class ReadingOptions:
    """SOURCE, and how it is read; names as in `cde_retrievers.corpora.ReadOptions`."""

    source: Annotated[
        Path,
        Argument(
            metavar="SOURCE",
            show_default=False,
            help="A folder of documents (Markdown, HTML, PDF, Word and others), a JSON, JSONL, CSV or Parquet file or "
            "a folder of these, or a BEIR folder.",
        ),
    ]
    format: Annotated[Format | None, _reading(help="Found from the names of the files if left out.")] = None
    text: Annotated[
        list[str] | None,
        _reading(
            "--text",
            metavar="COLUMN",
            help="Column with the text ('text' if left out). Several are joined with a space.",
        ),
    ] = None
    id: Annotated[
        str | None,
        _reading(
            metavar="COLUMN",
            help="Column with the ids ('id' or '_id' if left out; without one, file name and line are used).",
        ),
    ] = None
    metadata: Annotated[
        list[str] | None, _reading(metavar="COLUMN", help="Column to keep as metadata (all if left out).")
    ] = None
    number: Annotated[
        list[str] | None,
        _reading(metavar="COLUMN", help="Column of a CSV file that holds numbers, for filters to compare."),
    ] = None
    delimiter: Annotated[str | None, _reading(metavar="CHARACTER", help="Between the cells of a CSV file.")] = None
    ids_as_text: Annotated[bool, _reading("--ids-as-text", help="Write ids that are whole numbers as text.")] = False
    id_prefix: Annotated[
        str | None,
        _reading(metavar="TEXT", help="Put before every id, to tell sources apart."),
    ] = None
    ending: Annotated[
        list[str] | None, _reading(metavar="ENDING", help="Ending of the files to read in a folder, as '.log'.")
    ] = None
    encoding: Annotated[str | None, _reading(metavar="NAME", help="Of the files' text (utf-8 if left out).")] = None
    skip_empty: Annotated[bool, _reading("--skip-empty", help="Leave out documents without any text.")] = False
    skip_errors: Annotated[
        bool, _reading("--skip-errors", help="Leave out files that cannot be read, and name them.")
    ] = False
    split: Annotated[
        Split | None,
        _reading(
            help="Make parts of long texts, each a document of its own: what a model cannot read in one piece, "
            "cannot be found. If left out: as the sources of the index were read, for a new one 'none'."
        ),
    ] = None
    chunk_tokens: Annotated[
        int | None,
        _reading(
            metavar="NUMBER",
            min=1,
            help="Tokens of a part, with the headings above it (as many as the model reads if left out).",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        _reading(metavar="NUMBER", min=0, help="Tokens that a part repeats of the one before it (0 if left out)."),
    ] = None
    max_words: Annotated[
        int | None,
        _reading(metavar="NUMBER", min=1, help="Of a part, punctuation included: in place of the model's tokens."),
    ] = None
    max_characters: Annotated[
        int | None,
        _reading(
            metavar="NUMBER",
            min=1,
            help="Of a row, or of a whole text file; what is longer is refused (67,108,864 if left out).",
        ),
    ] = None
    follow_links: Annotated[
        bool,
        _reading("--follow-links", help="Read what symbolic links in a folder lead to."),
    ] = False

    def refuse_reading_options(self, remedy: str) -> None:
        """Raise BadParameter if an option about documents was given where it would have no effect.

        Args:
            remedy: the way out, as the end of a sentence.
        """
        for option in fields(self):
            if option.name != "source" and getattr(self, option.name) != option.default:
                name = f"--{option.name.replace('_', '-')}"
                raise BadParameter(f"{name} says how documents are read; {remedy}")

    def corpus(self) -> Corpus:
        """Return the documents, not read yet; raises as `Corpus`."""
        from cde_retrievers.corpora import Corpus

        return Corpus(self.source, self.options())

    def options(self) -> ReadOptions:
        """Return how to read it; raises as `ReadOptions`."""
        from cde_retrievers.corpora import ReadOptions

        return ReadOptions(**self.given())

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by their names in `ReadOptions`."""
        names = {"ending": "endings", "number": "numbers"}
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "source"}
        given = {
            names.get(name, name): tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if not (value is None or value is False or value == [])
        }
        return {**given, "split": None} if self.split == "none" else given
