"""Hits as a terminal shows them: where each stands, what matched, and the part of the text that did."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from cde_retrievers.cli.matches import QueryWords

if TYPE_CHECKING:
    from cde_retrievers.index import Hit

_CHARACTERS, _LINES = 320, 8
_BEFORE, _LINES_BEFORE = 80, 3  # shown before a match, its own line included
_MATCH = "bold yellow"


def lines_of(hits: "Sequence[Hit]", words: QueryWords | None, *, full: bool) -> Iterator[Text | Padding]:
    """Yield what is shown for hits.

    Args:
        hits: best first.
        words: the words of the query, if it was searched by words.
        full: whether to show whole texts and their metadata.
    """
    for rank, hit in enumerate(hits, start=1):
        head = Text.assemble((f"{rank:>2}. ", "bold"), (f"{hit.score:.3f}  ", "cyan"), (hit.id, "green"))
        for part in (_source_beside(hit), _parts(hit, words)):
            if part:
                head.append(f"  {part}", style="dim")
        yield head
        heading = heading_of(hit.metadata)
        if heading and not (full and hit.text.startswith(heading)):  # else the whole text begins with it
            yield Padding(Text(heading, style="bold"), (0, 0, 0, 4), expand=False)
        text = hit.text.strip() if full else excerpt(_without(heading, hit.text), words)
        shown = Text(text)
        for start, stop in words.places_in(text) if words else ():
            shown.stylize(_MATCH, start, stop)
        if full:
            shown.append("\n").append(json.dumps(dict(hit.metadata), ensure_ascii=False), style="dim")
        yield Padding(shown, (0, 0, 1, 4), expand=False)


def _source_beside(hit: "Hit") -> str:
    """Return file and row that a document was read from, unless its id says as much."""
    source = ":".join(str(part) for part in map(hit.metadata.get, ("file", "row")) if part is not None)
    return "" if source in hit.id else source


def _parts(hit: "Hit", words: QueryWords | None) -> str:
    """Return what vectors and words gave, as far as they were searched, and which words."""
    cosine = "" if hit.dense is None else f"cosine {hit.dense:.3f}"
    lexical = "" if hit.lexical is None else f"BM25 {hit.lexical:.2f}"
    if words and (shared := words.shared_with(hit.text)):
        lexical += f" ({', '.join(shared)})"
    return ", ".join(part for part in (cosine, lexical) if part)


def heading_of(metadata: Mapping[str, Any]) -> str:
    """Return the headings that a part stands under, the outermost first."""
    found = metadata.get("heading_path") or metadata.get("heading") or ""
    return " > ".join(map(str, found)) if isinstance(found, list | tuple) else str(found)


def _without(heading: str, text: str) -> str:
    """Return a text without its first line, if that is the innermost heading and more follows."""
    first, _, rest = text.strip().partition("\n")
    name = first.strip("# ")
    return rest if name and heading.endswith(name) and rest.strip() else text


def excerpt(text: str, words: QueryWords | None = None) -> str:
    """Return some lines of a text: those that hold the words of most weight, or the first ones if no others do."""
    lines = (line.rstrip() for line in text.strip().splitlines())
    text = "\n".join(line for line in lines if line)
    start, stop = _best_window(text, words) if words else _window(text, 0)
    return ("... " if start else "") + text[start:stop].rstrip() + ("" if stop == len(text) else " ...")


def _best_window(text: str, words: QueryWords) -> tuple[int, int]:
    """Return the beginning and the end of the passage that matches best, of several the first."""
    matches = words.matches_in(text)
    begins = [match.start for match in matches]

    def weight(window: tuple[int, int]) -> float:
        start, stop = window
        return words.weight_of(matches[bisect_left(begins, start) : bisect_left(begins, stop)])

    return max((_window(text, place) for place in (0, *begins)), key=weight)


def _window(text: str, place: int) -> tuple[int, int]:
    """Return the beginning and the end of a passage with the place in it, of a few lines at most."""
    start = 0 if place < _BEFORE else _word_begins(text, place - _BEFORE)
    above = text[start:place].split("\n")
    start = max(start, place - len("\n".join(above[-_LINES_BEFORE:])))
    stop = len(text) if start + _CHARACTERS >= len(text) else _word_begins(text, start + _CHARACTERS)
    return start, start + len("\n".join(text[start:stop].split("\n")[:_LINES]))


def _word_begins(text: str, place: int) -> int:
    """Return the place itself or a little before it, where a word begins if there is one near."""
    space = max(text.rfind(" ", place - _BEFORE, place), text.rfind("\n", place - _BEFORE, place))
    return space + 1 if space >= 0 else place
