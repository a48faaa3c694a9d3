"""What a document's own words ask for: the titles that it stands below, a question in it, or its first sentence.

What asks is taken out of the document, or a search would only compare strings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cde_retrievers.corpora.prose import plain_title, prose
from cde_retrievers.corpora.pseudo_queries import first_sentence, outline, plain, without_beginning, word_count
from cde_retrievers.retrieval.document import Document

Kind = Literal["heading", "title", "question", "sentence"]

MIN_WORDS = 8
"""Words of running text that a document must have to be asked for."""
_MIN_QUESTION, _MAX_QUERY = 4, 40  # words
_BETWEEN_TITLES = " > "  # in metadata
# A line of its own, as in lists of questions; within a text most are asked for effect.
_QUESTION = re.compile(r"^[^\S\n]*(?:Q(?:uestion)?[.:][^\S\n]*)?(\S[^.!?\n]{0,400}\?)[^\S\n]*$", re.MULTILINE)
_NOT_ASKED = re.compile(r"[{}\[\]<>=|\\]|://|\w\(|;\s*$")


@dataclass(frozen=True, slots=True)
class Titled:
    """A document below its title.

    Attributes:
        kind: "heading" for a part below a heading, "title" for a whole document.
        whole: of the document that it is, or is a part of; the same for its neighbours in that.
        path: the titles above it, outermost first; its own is the last.
        rest: its text without its own title. Those above stay, since other parts have them too.
        has_enough: whether it says enough below its titles to be asked for.
    """

    kind: Kind
    whole: str
    path: tuple[str, ...]
    rest: str
    has_enough: bool

    @property
    def query(self) -> str:
        """The titles as a query; outer ones are left out where it would be too long."""
        path = [title for title in map(plain_title, self.path) if title]
        path = [title for place, title in enumerate(path) if place == 0 or plain(title) != plain(path[place - 1])]
        while len(path) > 1 and word_count(" ".join(path)) > _MAX_QUERY:
            del path[0]
        return ": ".join(path)


def titled(document: Document) -> Titled | None:
    """Return a document below its title, or None if it has none that can be asked.

    The metadata `heading_path` and `heading` of a split document name the titles, else `title`, else the heading that
    its Markdown begins with.
    """
    found = _titled(document)
    return found if found is not None and 1 <= word_count(found.query) <= _MAX_QUERY else None


def _titled(document: Document) -> Titled | None:
    path, title = _path(document), _text_or_none(document.metadata.get("title"))
    whole = _whole(document, is_titled_by_metadata=bool(path) or title is not None)
    if path:
        rest = _below(document.text, path)
        body = document.text.removeprefix(_BETWEEN_TITLES.join(path))
        return Titled("heading", whole, path, rest, _says_enough(body) and _says_enough(rest))
    if title is None:
        parts = outline(document)
        title = parts.title
        _, *sections = parts.sections if len(parts.sections) > 1 else (None,)
        if title is None and len(sections) == 1 and not parts.sections[0].text.strip():
            title = sections[0].heading
    if title is None:
        return None
    rest = without_beginning(document.text, title)
    return Titled("title", whole, (title,), rest, _says_enough(document.text) and _says_enough(rest))


def _path(document: Document) -> tuple[str, ...]:
    """Return the titles above a part of a split document; none for a whole one."""
    path, heading = document.metadata.get("heading_path"), _text_or_none(document.metadata.get("heading"))
    if isinstance(path, str):
        path = path.split(_BETWEEN_TITLES)
    titles = [title for title in path if _text_or_none(title)] if isinstance(path, list | tuple) else []
    if titles:
        return tuple(titles)
    title = _text_or_none(document.metadata.get("title"))
    return () if heading is None else (heading,) if title is None else (title, heading)


def _below(text: str, path: tuple[str, ...]) -> str:
    """Return the text of a part without its own title; what stands above it as its path keeps the others."""
    *above, own = path
    shown = _BETWEEN_TITLES.join(path)
    if not text.startswith(shown):
        return without_beginning(text, own)
    rest = without_beginning(text[len(shown) :], own)
    return "\n\n".join(filter(None, (_BETWEEN_TITLES.join(above), rest)))


def _whole(document: Document, is_titled_by_metadata: bool) -> str:
    """Return what parts of one document have in common.

    Where the metadata give a title and no whole, as other splitters and exports do, it is the file: neighbours in it
    below one title are taken for parts. A text that begins with its own title is a whole.
    """
    metadata = document.metadata
    if metadata.get("part_of"):
        return str(metadata["part_of"])
    if document.id and "part" in metadata:
        return document.id.rpartition("#")[0]
    if is_titled_by_metadata:
        return str(metadata.get("file") or metadata.get("source") or "")
    return str(document.id)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _says_enough(text: str) -> bool:
    return word_count(prose(text)) >= MIN_WORDS


def question(text: str) -> str | None:
    """Return the first question of a text that some text follows, or None."""
    sentences = prose(text)
    for match in _QUESTION.finditer(sentences):
        if _can_ask(match[1]) and word_count(sentences[match.end() :]) >= MIN_WORDS:
            return " ".join(match[1].split())
    return None


def sentence(text: str) -> str | None:
    """Return the first sentence of a text that some text follows, or None."""
    sentences = prose(text)
    found = first_sentence(sentences)
    if found is None or not _can_ask(found) or word_count(sentences) - word_count(found) < MIN_WORDS:
        return None
    return found


def without(text: str, query: str) -> str | None:
    """Return the text without these words, wherever they stand in it; None if they do not stand there as they are."""
    words = r"[\s*_`]+".join(map(re.escape, query.split()))
    match = re.search(rf"[*_`]*{words}[*_`]*", text)
    if match is None:
        return None
    return f"{text[: match.start()].rstrip()}\n{text[match.end() :].lstrip()}".strip()


def _can_ask(query: str) -> bool:
    return _MIN_QUESTION <= word_count(query) <= _MAX_QUERY and not _NOT_ASKED.search(query)


def runs(found: list[Titled | None]) -> Iterator[list[int]]:
    """Yield the places of neighbours below one title: the parts of one section."""
    group: list[int] = []
    for place, each in enumerate(found):
        last = found[group[-1]] if group else None
        is_next = last is not None and each is not None and (last.whole, last.path) == (each.whole, each.path)
        if group and not (is_next and group[-1] == place - 1):
            yield group
            group = []
        if each is not None:
            group.append(place)
    if group:
        yield group
