"""`search`, for one query or for many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.text import Text
from typer import Argument, BadParameter, Option

from cde_retrievers.cli.options.common import IndexPath, Mode, ModelOptions, OutputOptions
from cde_retrievers.cli.queries import are_typed, checked_query, piped_queries, typed_queries
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.index import ContextualIndex, Hit


def search(
    path: IndexPath,
    model: ModelOptions,
    output: OutputOptions,
    query: Annotated[
        str | None,
        Argument(
            metavar="QUERY",
            help="What you look for, in words. '-' reads queries from standard input, one a line; if left out, so does "
            "a pipe, and a terminal asks for them.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, Option("-k", min=1, metavar="NUMBER", help="Documents to show.")] = 10,
    mode: Annotated[
        Mode | None,
        Option(
            show_default=False,
            help="By vectors and words (hybrid), by vectors alone (dense), or by words alone (lexical). If left out: "
            "hybrid, or dense if the index has no words.",
        ),
    ] = None,
    filter: Annotated[
        str | None,
        Option(
            metavar="JSON",
            help='Which documents may be found, by their metadata, such as \'{"year": {"$gte": 2020}}\'.',
        ),
    ] = None,
    full: Annotated[bool, Option("--full", help="Show whole texts and their metadata.")] = False,
) -> None:
    """Find the documents of INDEX that answer QUERY best, best first.

    Beside the score of each document stands what it is made of: the cosine of the vectors, and BM25 of the words with
    those that matched. Several queries load the model once; with --json each is answered by one line. A query that
    begins with a dash comes last, quoted and after `--`.
    """
    wanted = _parsed(filter)
    given = checked_query(query)
    with session(output) as run:
        searches = _Searches(path, _opened(path, model, run, mode), k, mode, wanted, full)
        if given is not None:
            searches.answer(run, given)
        elif are_typed(query):
            run.say(f"{path}: {counted(len(searches.index), 'document')}; an empty line ends")
            for each in typed_queries():
                searches.answer(run, each)
        else:
            for each in piped_queries():
                searches.answer(run, each, titled=True)


def _opened(path: Path, model: ModelOptions, run: Session, mode: Mode | None) -> "ContextualIndex":
    from cde_retrievers.cli.loading import WAYS_OUT, open_index
    from cde_retrievers.index import ContextualIndex

    run.way_out = WAYS_OUT
    if mode == "lexical":  # words need no model
        index = ContextualIndex.open(path, read_only=True)
    else:
        index, _ = open_index(path, model, run, read_only=True)
    if index.mode == "dense" and mode not in (None, "dense"):
        way_out = f"`cde-retrievers refit {path}` adds the words, --mode dense does without"
        run.way_out = {**run.way_out, ConfigurationError: way_out}
    return index


@dataclass(frozen=True)
class _Searches:
    """Searches of one index; fields as the options of the command."""

    path: Path
    index: "ContextualIndex"
    k: int
    mode: Mode | None
    filter: Any
    full: bool

    def answer(self, run: Session, query: str, *, titled: bool = False) -> None:
        """Search for one query, and show what is found, below the query itself if `titled`."""
        from cde_retrievers.cli.hits import lines_of
        from cde_retrievers.cli.matches import QueryWords

        hits = self.index.search(query, k=self.k, filter=self.filter, mode=self.mode)
        mode = self.mode or self.index.mode
        words = None if mode == "dense" else QueryWords.of(query, self.index.context.term_statistics())
        found = [
            {
                "rank": rank,
                "score": hit.score,
                "dense": hit.dense,
                "lexical": hit.lexical,
                "matched": None if words is None else words.shared_with(hit.text),
                "id": hit.id,
                "text": hit.text,
                "metadata": dict(hit.metadata),
            }
            for rank, hit in enumerate(hits, start=1)
        ]
        run.answer(
            {"index": str(self.path), "query": query, "mode": mode, "hits": found},
            *([Text(f"> {query}", style="bold")] if titled else []),
            *lines_of(hits, words, full=self.full),
        )
        if not hits:
            self._say_why(run)
        elif mode == "hybrid" and not self._has_words(query, hits):
            run.say(f"{self._no_word()}; what is found is found by the vectors alone")

    def _has_words(self, query: str, hits: "Sequence[Hit]") -> bool:
        """Whether a document that passes the filter shares a word with the query; if no hit does, another may."""
        return any(hit.lexical for hit in hits) or bool(
            self.index.search(query, k=1, filter=self.filter, mode="lexical")
        )

    def _say_why(self, run: Session) -> None:
        """Say why nothing was found."""
        if len(self.index) == 0:
            run.say("the index is empty")
        elif next(self.index.documents(self.filter), None) is None:
            run.say("no document passes the filter")
        elif self.mode == "lexical":
            run.say(self._no_word())

    def _no_word(self) -> str:
        return f"no document{' that passes the filter' if self.filter else ''} shares a word with the query"


def _parsed(text: str | None) -> Any:
    if text is None:
        return None
    from cde_retrievers.corpora.decoding import parse_json

    try:
        return parse_json(text)
    except ValueError as error:
        raise BadParameter(f"it is not valid JSON: {error}", param_hint="--filter") from error
