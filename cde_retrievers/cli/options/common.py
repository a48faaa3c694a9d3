"""The options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, BadParameter, Option

if TYPE_CHECKING:
    from cde_retrievers.corpora import Corpus, ReadOptions


Format = Literal["text", "json", "jsonl", "csv", "parquet", "beir"]
Split = Literal["paragraphs", "headings", "none"]
Strategy = Literal["random", "kmeans", "diverse"]
Kind = Literal["flat", "hnsw", "ivf"]
StoredAs = Literal["float32", "int8", "binary"]
Mode = Literal["hybrid", "dense", "lexical"]
Backend = Literal["torch", "onnx", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]

_READING, _MODEL, _CONTEXT, _OUTPUT = "How the source is read", "Model", "Choice of the context", "Output"

AsGiven = Annotated[
    bool,
    Option("--as-given", help="Read SOURCE by the options of this command alone, not as the index's sources."),
]
IndexPath = Annotated[Path, Argument(metavar="INDEX", help="Directory of an index.", show_default=False)]


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
    format: Annotated[
        Format | None, Option(help="Found from the names of the files if left out.", rich_help_panel=_READING)
    ] = None
    text: Annotated[
        list[str] | None,
        Option(
            "--text",
            metavar="COLUMN",
            rich_help_panel=_READING,
            help="Column with the text ('text' if left out). Several are joined with a space.",
        ),
    ] = None
    id: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            rich_help_panel=_READING,
            help="Column with the ids ('id' or '_id' if left out; without one, file name and line are used).",
        ),
    ] = None
    metadata: Annotated[
        list[str] | None,
        Option(metavar="COLUMN", rich_help_panel=_READING, help="Column to keep as metadata (all if left out)."),
    ] = None
    number: Annotated[
        list[str] | None,
        Option(
            metavar="COLUMN",
            rich_help_panel=_READING,
            help="Column of a CSV file that holds numbers, for filters to compare.",
        ),
    ] = None
    delimiter: Annotated[
        str | None, Option(metavar="CHARACTER", rich_help_panel=_READING, help="Between the cells of a CSV file.")
    ] = None
    ids_as_text: Annotated[
        bool, Option("--ids-as-text", rich_help_panel=_READING, help="Write ids that are whole numbers as text.")
    ] = False
    id_prefix: Annotated[
        str | None, Option(metavar="TEXT", rich_help_panel=_READING, help="Put before every id, to tell sources apart.")
    ] = None
    ending: Annotated[
        list[str] | None,
        Option(metavar="ENDING", rich_help_panel=_READING, help="Ending of the files to read in a folder, as '.log'."),
    ] = None
    encoding: Annotated[
        str | None, Option(metavar="NAME", rich_help_panel=_READING, help="Of the files' text (utf-8 if left out).")
    ] = None
    skip_empty: Annotated[
        bool, Option("--skip-empty", rich_help_panel=_READING, help="Leave out documents without any text.")
    ] = False
    skip_errors: Annotated[
        bool,
        Option("--skip-errors", rich_help_panel=_READING, help="Leave out files that cannot be read, and name them."),
    ] = False
    split: Annotated[
        Split | None,
        Option(
            rich_help_panel=_READING,
            help="Make parts of long texts, each a document of its own: what a model cannot read in one piece, "
            "cannot be found. If left out: as the sources of the index were read, for a new one 'none'.",
        ),
    ] = None
    chunk_tokens: Annotated[
        int | None,
        Option(
            metavar="NUMBER",
            min=1,
            rich_help_panel=_READING,
            help="Tokens of a part, with the headings above it (as many as the model reads if left out).",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        Option(
            metavar="NUMBER",
            min=0,
            rich_help_panel=_READING,
            help="Tokens that a part repeats of the one before it (0 if left out).",
        ),
    ] = None
    max_words: Annotated[
        int | None,
        Option(
            metavar="NUMBER",
            min=1,
            rich_help_panel=_READING,
            help="Of a part, punctuation included: in place of the model's tokens.",
        ),
    ] = None
    max_characters: Annotated[
        int | None,
        Option(
            metavar="NUMBER",
            min=1,
            rich_help_panel=_READING,
            help="Of a row, or of a whole text file; what is longer is refused (67,108,864 if left out).",
        ),
    ] = None
    follow_links: Annotated[
        bool,
        Option("--follow-links", rich_help_panel=_READING, help="Read what symbolic links in a folder lead to."),
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


@dataclass(frozen=True)
class ModelOptions:
    """The model and its device."""

    model: Annotated[
        str | None,
        Option(
            metavar="NAME",
            rich_help_panel=_MODEL,
            help="A built-in model, a folder or a hub repository. If left out: the one that context or index was made "
            "with, for something new 'minilm'.",
        ),
    ] = None
    device: Annotated[
        str, Option(metavar="DEVICE", rich_help_panel=_MODEL, help="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
    ] = "auto"
    dtype: Annotated[
        str,
        Option(
            metavar="FORMAT",
            rich_help_panel=_MODEL,
            help="Of torch: 'auto' (float32 on a CPU), 'float32', 'bfloat16' or 'float16'.",
        ),
    ] = "auto"
    backend: Annotated[
        Backend | None,
        Option(
            rich_help_panel=_MODEL,
            help="The library that embeds texts, onnx and openvino on the CPU. If left out: the one that the model was "
            "exported to, else torch.",
        ),
    ] = None
    precision: Annotated[
        Precision,
        Option(
            rich_help_panel=_MODEL,
            help="Of the backend. An index made in int8 is searched in int8 alone: give the same every time.",
        ),
    ] = "auto"


@dataclass(frozen=True)
class ContextOptions:
    """The documents of a context."""

    size: Annotated[
        int | None,
        Option(metavar="NUMBER", rich_help_panel=_CONTEXT, help="Documents (the model's own number if left out)."),
    ] = None
    strategy: Annotated[Strategy, Option(rich_help_panel=_CONTEXT, help="How they are chosen.")] = "random"
    seed: Annotated[
        int, Option(metavar="NUMBER", rich_help_panel=_CONTEXT, help="The same one chooses the same documents.")
    ] = 0
    language: Annotated[
        str | None,
        Option(
            metavar="NAME",
            rich_help_panel=_CONTEXT,
            help="Of stems and stop words, such as 'german'; 'none' for words as they are, which suits any. If left "
            "out: that of the index, for something new 'english'.",
        ),
    ] = None

    def arguments(self, language: str | None = "english") -> dict[str, Any]:
        """Return the options as arguments of the library; `language` is for where none was given."""
        chosen = language if self.language is None else None if self.language == "none" else self.language
        return {"size": self.size, "strategy": self.strategy, "seed": self.seed, "language": chosen}

    def check(self) -> None:
        """Raise ConfigurationError if no context can be chosen so, before a model is loaded."""
        from cde_retrievers.context.selection import check_choice
        from cde_retrievers.sparse import Analyzer

        check_choice(2 if self.size is None else self.size, self.strategy, self.seed)
        Analyzer(self.arguments()["language"])


@dataclass(frozen=True)
class OutputOptions:
    """The output, and where it goes."""

    as_json: Annotated[
        bool, Option("--json", rich_help_panel=_OUTPUT, help="Answer as one JSON object, and nothing else, on stdout.")
    ] = False
    progress: Annotated[
        bool | None,
        Option(
            "--progress/--no-progress",
            show_default=False,
            rich_help_panel=_OUTPUT,
            help="Progress bars, on stderr (if left out: where the work is long; without a terminal a line a minute).",
        ),
    ] = None
    verbose: Annotated[
        bool, Option("--verbose", rich_help_panel=_OUTPUT, help="Show where in the program an error arose.")
    ] = False
