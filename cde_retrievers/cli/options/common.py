"""The options that several commands share."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

Strategy = Literal["random", "kmeans", "diverse"]
Kind = Literal["flat", "hnsw", "ivf"]
StoredAs = Literal["float32", "int8", "binary"]
Mode = Literal["hybrid", "dense", "lexical"]
Backend = Literal["torch", "onnx", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]

# One for each panel of `--help`.
_model = partial(Option, rich_help_panel="Model")
_context = partial(Option, rich_help_panel="Choice of the context")
_output = partial(Option, rich_help_panel="Output")

IndexPath = Annotated[Path, Argument(metavar="INDEX", help="Directory of an index.", show_default=False)]


@dataclass(frozen=True)
class ModelOptions:
    """The model and its device."""

    model: Annotated[
        str | None,
        _model(
            metavar="NAME",
            help="A built-in model, a folder or a hub repository. If left out: the one that context or index was made "
            "with, for something new 'minilm'.",
        ),
    ] = None
    device: Annotated[str, _model(metavar="DEVICE", help="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")] = "auto"
    dtype: Annotated[
        str, _model(metavar="FORMAT", help="Of torch: 'auto' (float32 on a CPU), 'float32', 'bfloat16' or 'float16'.")
    ] = "auto"
    backend: Annotated[
        Backend | None,
        _model(
            help="The library that embeds texts, onnx and openvino on the CPU. If left out: the one that the model was "
            "exported to, else torch."
        ),
    ] = None
    precision: Annotated[
        Precision,
        _model(help="Of the backend. An index made in int8 is searched in int8 alone: give the same every time."),
    ] = "auto"


@dataclass(frozen=True)
class ContextOptions:
    """The documents of a context."""

    size: Annotated[
        int | None,
        _context(metavar="NUMBER", help="Documents (the model's own number if left out)."),
    ] = None
    strategy: Annotated[Strategy, _context(help="How they are chosen.")] = "random"
    seed: Annotated[int, _context(metavar="NUMBER", help="The same one chooses the same documents.")] = 0
    language: Annotated[
        str | None,
        _context(
            metavar="NAME",
            help="Of stems and stop words, such as 'german'; 'none' for words as they are, which suits any. If left "
            "out: that of the index, for something new 'english'.",
        ),
    ] = None

    def arguments(self, language: str | None = "english") -> dict[str, Any]:
        """Return the options as arguments of the library; `language` is for where none was given."""
        chosen = language if self.language is None else None if self.language == "none" else self.language
        return {"size": self.size, "strategy": self.strategy, "seed": self.seed, "language": chosen}

    def check(self, given: Path | None = None) -> None:
        """Raise ConfigurationError if no context can be chosen so, or is given already, before a model is loaded."""
        from cde_retrievers.context.selection import check_choice
        from cde_retrievers.errors import ConfigurationError
        from cde_retrievers.sparse import Analyzer

        if given is not None and self != ContextOptions():
            raise ConfigurationError(
                f"the context in {given} is fitted already; leave out --size, --strategy, --seed and --language, or "
                f"--context"
            )
        check_choice(2 if self.size is None else self.size, self.strategy, self.seed)
        Analyzer(self.arguments()["language"])


@dataclass(frozen=True)
class OutputOptions:
    """The output, and where it goes."""

    as_json: Annotated[bool, _output("--json", help="Answer as one JSON object, and nothing else, on stdout.")] = False
    progress: Annotated[
        bool | None,
        _output(
            "--progress/--no-progress",
            show_default=False,
            help="Progress bars, on stderr (if left out: where the work is long; without a terminal a line a minute).",
        ),
    ] = None
    verbose: Annotated[bool, _output("--verbose", help="Show where in the program an error arose.")] = False
