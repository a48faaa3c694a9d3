"""The options of `eval` and `report`."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from cde_retrievers.cli.options.reading import ReadingOptions

_compared = partial(Option, rich_help_panel="What is compared")


class StrategyName(StrEnum):
    """The values of `Strategy`, since an option that may be repeated cannot have a type of literals."""

    RANDOM = "random"
    KMEANS = "kmeans"
    DIVERSE = "diverse"


class ModeName(StrEnum):
    """`options.Mode` once more."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


@dataclass(frozen=True)
class EvaluationSource(ReadingOptions):
    """SOURCE: judged queries and their corpus, or documents, which the other options say how to read."""

    source: Annotated[
        Path,
        Argument(
            metavar="SOURCE",
            show_default=False,
            help="A BEIR folder with judged queries (qrels/). Or documents, as `index` reads them: then queries are "
            "made of titles and first sentences, each asking for the rest of its document.",
        ),
    ]

    @property
    def has_judgements(self) -> bool:
        """Whether it is a BEIR folder with judged queries."""
        return (self.source / "qrels").is_dir()


@dataclass(frozen=True)
class ComparisonOptions:
    """The searches that are compared, besides those under the corpus' own context and without one."""

    queries: Annotated[
        Path | None,
        _compared(
            metavar="FILE",
            help="Your own questions, one a line of a text file. `report` writes a page to mark the right hits on, and "
            "--qrels takes what the page saves.",
        ),
    ] = None
    qrels: Annotated[
        str | None,
        _compared(
            metavar="NAME",
            help="Whose judgements of a BEIR folder: qrels/NAME.tsv ('test' if left out). With --queries: the file of "
            "marks.",
        ),
    ] = None
    mode: Annotated[
        list[ModeName] | None,
        _compared(
            help="How the source is searched (all three if left out, hybrid first). The first one is what all others "
            "are compared with. Repeat."
        ),
    ] = None
    context_of: Annotated[
        list[Path] | None, _compared(metavar="OTHER", help="Other documents, whose context is tried on these. Repeat.")
    ] = None
    size: Annotated[
        list[int] | None,
        _compared(metavar="NUMBER", min=2, help="Another number of context documents. Repeat for a curve."),
    ] = None
    strategy: Annotated[
        list[StrategyName] | None, _compared(help="Another way to choose context documents. Repeat.")
    ] = None
    seed: Annotated[
        list[int] | None, _compared(metavar="NUMBER", help="Another choice of context documents. Repeat.")
    ] = None
    bm25: Annotated[bool, _compared("--bm25", help="Search by BM25 as well.")] = False
