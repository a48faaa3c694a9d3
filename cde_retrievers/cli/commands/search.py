"""`search`, and how hits look."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from rich.padding import Padding
from rich.text import Text
from typer import Argument, BadParameter, Option

from cde_retrievers.cli.options.common import IndexPath, ModelOptions, OutputOptions
from cde_retrievers.cli.session import session

if TYPE_CHECKING:
    from cde_retrievers.index import Hit


_BOLD_WORDS, _WORDS = 8, 45


def search(
    path: IndexPath,
    query: Annotated[str, Argument(metavar="QUERY", help="What you look for, in words.", show_default=False)],
    model: ModelOptions,
    output: OutputOptions,
    k: Annotated[int, Option("-k", min=1, metavar="NUMBER", help="Documents to show.")] = 10,
    filter: Annotated[
        str | None,
        Option(
            metavar="JSON",
            help='Which documents may be found, by their metadata, such as \'{"year": {"$gte": 2020}}\'.',
        ),
    ] = None,
    full: Annotated[bool, Option("--full", help="Show whole texts and their metadata.")] = False,
) -> None:
    """Find the documents of INDEX that are nearest to QUERY, best first."""
    wanted = _parsed(filter)
    with session(output) as run:
        from cde_retrievers.cli.loading import open_index

        index, _ = open_index(path, model, run, read_only=True)
        hits = index.search(query, k=k, filter=wanted)
        found = [
            {"rank": rank, "score": hit.score, "id": hit.id, "text": hit.text, "metadata": dict(hit.metadata)}
            for rank, hit in enumerate(hits, start=1)
        ]
        run.answer({"index": str(path), "query": query, "hits": found}, *_lines(hits, full))
        if not hits:
            run.say("no document passes the filter" if wanted else "the index is empty")


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
        yield head
        yield Padding(_whole(hit) if full else excerpt(hit.text), (0, 0, 1, 4), expand=False)


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
