"""A page to mark on: the first hits of every search side by side, and which of them are right, saved as judgements."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import cde_retrievers
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import searcher_of
from cde_retrievers.evaluation.hits import Hits, hits_of_others
from cde_retrievers.evaluation.precomputed import embedded_once
from cde_retrievers.evaluation.searchers import Contextual, Searcher, check_mode, hits_of, without_context
from cde_retrievers.index.queries import Mode
from cde_retrievers.report.html import rendered
from cde_retrievers.report.writer import write_page
from cde_retrievers.storage.atomic import checked_target
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.util.imports import require
from cde_retrievers.validation.signatures import validated

FIRST = 5
"""Hits of each search that are shown."""
_COMMAND = "cde-retrievers eval SOURCE --queries questions.txt --qrels marked.tsv"
_LONGEST = 4_000  # characters of a document that are shown


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit as the page shows it.

    Attributes:
        place: of the document among those of the page.
        id: its id.
        text: its text.
    """

    place: int
    id: str
    text: str


@validated
def marking_page(
    model: ContextualEncoder | str | Path,
    data: RetrievalDataset,
    path: str | Path,
    *,
    modes: Sequence[Mode] = ("hybrid", "dense", "lexical"),
    others: Sequence[Searcher | Embedder | str | Path] = (),
    command: str = _COMMAND,
    show_progress: bool | None = None,
) -> None:
    """Search for every query, and write a page on which a person marks the right hits.

    It shows the first five hits of each mode under the corpus' own context, of plain vectors, and of any others.
    Its button saves the marks as a file of judgements, which `own_questions` reads. The page is one HTML file; it loads
    and sends nothing. It holds texts of the corpus.

    Args:
        model: a contextual model, loaded or by name.
        data: documents and queries, as `own_questions` makes them; judgements play no part.
        path: of the page; an older file there is replaced, when the new one is whole.
        modes: how the corpus is searched under its own context.
        others: what else searches, as `compare` takes it.
        command: the command line that evaluates with the marks, for the page to show.
        show_progress: show a bar; None for long work only.

    Raises:
        PathInUseError: `path` is a directory.
        WriteError: nothing can be written there.
        ConfigurationError: a mode is unknown, or one of `others` cannot search.
        CheckpointError: there is no model of that name.
        MissingDependencyError: a package of the extra "eval" is not installed.
    """
    require("jinja2", "a page", extra="eval")
    for mode in modes:
        check_mode(mode)
    target = checked_target(path)
    searchers = [searcher_of(other) for other in others]
    encoder = model if isinstance(model, ContextualEncoder) else ContextualEncoder.from_pretrained(model)
    found = _first_hits(encoder, data, modes, show_progress)
    found |= {each.name: hits_of(each, data, FIRST, show_progress) for each in searchers}
    write_page(target, marking_html(data, found, command))


def _first_hits(
    encoder: ContextualEncoder, data: RetrievalDataset, modes: Sequence[Mode], show_progress: bool | None
) -> dict[str, Hits]:
    """Return the hits of each mode under the own context, and of plain vectors, by their labels."""
    embedder = embedded_once(encoder, data, show_progress)
    own, plain = Contextual(embedder), without_context(embedder)
    encoded = own.encoded(data, modes, show_progress=False)
    found = {
        f"{replace(own, mode=mode).context_label}, {mode}": hits_of_others(data, FIRST, encoded.in_mode(mode).hits)
        for mode in dict.fromkeys(modes)
    }
    return {**found, f"{plain.context_label}, {plain.mode}": plain.search(data, FIRST, show_progress=False)}


def marking_html(data: RetrievalDataset, found: dict[str, Hits], command: str = _COMMAND) -> str:
    """Return the page. Every text of a user is escaped, and only the page's own script runs.

    Args:
        data: documents and queries.
        found: hits by the label of their search.
        command: the command line that evaluates with the marks.

    Raises:
        MissingDependencyError: jinja2 is not installed; names the extra.
    """
    places: dict[int, int] = {}
    queries = []
    for at, text in enumerate(data.judged.queries.values()):
        columns = []
        for label, hits in found.items():
            rows = [
                int(row) for row, score in zip(hits.rows[at], hits.scores[at], strict=True) if score > -float("inf")
            ]
            shown = [
                ShownHit(places.setdefault(row, len(places)), data.ids[row], data.texts[row][:_LONGEST])
                for row in rows[:FIRST]
            ]
            columns.append((label, shown))
        queries.append((text, columns))
    script = (files("cde_retrievers") / "report" / "templates" / "marking.js").read_text(encoding="utf-8")
    ids = {"queries": list(data.judged.queries), "documents": [data.ids[row] for row in places]}
    # The browser keeps the marks by the page's content: with other texts they would mean something else.
    content = sha256_of_json({**ids, "texts": [data.texts[row] for row in places]})
    return rendered(
        "marking.html",
        data=data,
        queries=queries,
        embedded=script_safe({"page": content, **ids}),
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        first=FIRST,
        command=command,
        version=cde_retrievers.__version__,
    )


def script_safe(value: object) -> str:
    """Return JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    escaped = json.dumps(value)
    for character in "<>&":
        escaped = escaped.replace(character, f"\\u{ord(character):04x}")
    return escaped
