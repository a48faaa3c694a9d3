"""`search`, and how hits look."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from rich.padding import Padding
from rich.text import Text
from typer import Argument, BadParameter, Option

from cde_retrievers.cli.options.common import IndexPath, Mode, ModelOptions, OutputOptions
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import ConfigurationError

if TYPE_CHECKING:
    from cde_retrievers.index import ContextualIndex, Hit


_BOLD_WORDS, _WORDS = 8, 45


def search(
    path: IndexPath,
    query: Annotated[str, Argument(metavar="QUERY", help="What you look for, in words.", show_default=False)],
    model: ModelOptions,
    output: OutputOptions,
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

    Beside the score of each document stands what it is made of: the cosine of the vectors, and BM25 of the words.
    """
    wanted = _parsed(filter)
    with session(output) as run:
        from cde_retrievers.cli.loading import open_index

        index, _ = open_index(path, model, run, read_only=True)
        if index.mode == "dense" and mode not in (None, "dense"):
            way_out = f"`cde-retrievers refit {path}` adds the words, --mode dense does without"
            run.way_out = {**run.way_out, ConfigurationError: way_out}
        hits = index.search(query, k=k, filter=wanted, mode=mode)
        found = [
            {
                "rank": rank,
                "score": hit.score,
                "dense": hit.dense,
                "lexical": hit.lexical,
                "id": hit.id,
                "text": hit.text,
                "metadata": dict(hit.metadata),
            }
            for rank, hit in enumerate(hits, start=1)
        ]
        run.answer({"index": str(path), "query": query, "mode": mode or index.mode, "hits": found}, *_lines(hits, full))
        if not hits:
            _say_why(run, index, wanted, by_words=mode == "lexical")


def _say_why(run: Session, index: "ContextualIndex", wanted: Any, *, by_words: bool) -> None:
    """Say why nothing was found."""
    if len(index) == 0:
        run.say("the index is empty")
    elif next(index.documents(wanted), None) is None:
        run.say("no document passes the filter")
    elif by_words:
        run.say(f"no document{' that passes the filter' if wanted else ''} shares a word with the query")


def _parsed(text: str | None) -> Any:
    if text is None:
        return None
    from cde_retrievers.corpora.decoding import parse_json

    try:
        return parse_json(text)
    except ValueError as error:
        raise BadParameter(f"it is not valid JSON: {error}", param_hint="--filter") from error


def _lines(hits: "list[Hit]", full: bool) -> Iterator[Text | Padding]:
    for rank, hit in enumerate(hits, start=1):
        source = source_of(hit.metadata)
        head = Text.assemble((f"{rank:>2}. ", "bold"), (f"{hit.score:.3f}  ", "cyan"), (hit.id, "green"))
        if source and source != hit.id:
            head.append(f"  {source}", style="dim")
        head.append(f"  {_parts(hit)}", style="dim")
        yield head
        yield Padding(_whole(hit) if full else excerpt(hit.text), (0, 0, 1, 4), expand=False)


def _parts(hit: "Hit") -> str:
    """What vectors and words gave, as far as they were searched."""
    cosine = "" if hit.dense is None else f"cosine {hit.dense:.3f}"
    words = "" if hit.lexical is None else f"BM25 {hit.lexical:.2f}"
    return ", ".join(part for part in (cosine, words) if part)


def source_of(metadata: Mapping[str, Any]) -> str:
    """Return file and row that a document was read from, as far as its metadata says so."""
    parts = (metadata.get("file"), metadata.get("row"))
    return ":".join(str(part) for part in parts if part is not None)


def excerpt(text: str) -> Text:
    """Return the first words, the very first ones bold."""
    words = text.split()
    shown = Text(" ".join(words[:_BOLD_WORDS]), style="bold")
    rest = words[_BOLD_WORDS:_WORDS]
    if rest:
        shown.append(" " + " ".join(rest), style="not bold")
    if len(words) > _WORDS:
        shown.append(" …", style="not bold dim")
    return shown


def _whole(hit: "Hit") -> Text:
    metadata = json.dumps(dict(hit.metadata), ensure_ascii=False)
    return Text.assemble(hit.text.strip(), "\n", (metadata, "dim"))
