"""What one document offers as pairs: its title and body, its headings and sections, its first sentence and the rest."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from cde_retrievers.corpora.splitting import Section, markdown_sections
from cde_retrievers.index.document import Document
from cde_retrievers.training.pairs.beginnings import first_sentence, plain, without_beginning, word_count

Kind = Literal["title", "heading", "sentence"]

NO_TEXT = "no text"
NO_QUERY = "no title, no heading of its own, no first sentence to ask with"
TOO_LITTLE = "too little text behind what would be the query"

_MAX_QUERY_WORDS = 40


@dataclass(frozen=True, slots=True)
class Offer:
    """A query made from a document, and what is left of the document as its positive."""

    kind: Kind
    query: str
    positive: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A document's title, if it has one, and the sections below it.

    Attributes:
        title: of the whole.
        sections: each under its heading, if any.
    """

    title: str | None
    sections: tuple[Section, ...]

    @property
    def headings(self) -> set[str]:
        """In a form in which they can be compared."""
        return {plain(section.heading) for section in self.sections if section.heading}


def outline(document: Document) -> Outline:
    """How the document is divided.

    Its title is the metadata's `title`, else the heading that a Markdown text of several begins with. A part that
    `Reading(split="headings")` made is one section, whose heading its metadata gives.
    """
    title, heading = (_text_or_none(document.metadata.get(field)) for field in ("title", "heading"))
    if heading is not None:
        return Outline(title, (Section(heading, document.text),))
    preamble, *sections = markdown_sections(document.text)
    if title is None and not preamble.text.strip() and len(sections) > 1 and sections[0].heading:
        title = sections[0].heading
    return Outline(title, (preamble, *sections))


def offers(
    document: Document, parts: Outline, general: frozenset[str], kinds: Collection[Kind], min_words: int
) -> list[Offer] | str:
    """The pairs that the document gives, or in words why it gives none.

    Its first sentence asks only where title and headings give nothing: they are more like what people type.

    Args:
        document: with its text.
        parts: its outline.
        general: headings that other documents have as well, such as "introduction".
        kinds: which pairs to make.
        min_words: of a positive.
    """
    if not document.text.strip():
        return NO_TEXT
    candidates = [offer for offer in _by_name(document, parts, general) if offer.kind in kinds]
    fitting = [offer for offer in candidates if word_count(offer.positive) >= min_words]
    if not fitting and "sentence" in kinds:
        candidates += _by_sentence(parts)
        fitting = [offer for offer in candidates if word_count(offer.positive) >= min_words][:1]
    return fitting or (TOO_LITTLE if candidates else NO_QUERY)


def _by_name(document: Document, parts: Outline, general: frozenset[str]) -> Iterator[Offer]:
    """The title with all of the text, and each heading with its own section."""
    if parts.title and _can_ask(parts.title):
        yield _offer("title", parts.title, document.text)
    for section in parts.sections:
        heading = section.heading or ""
        is_title = parts.title is not None and plain(heading) == plain(parts.title)
        if _can_ask(heading) and not is_title and plain(heading) not in general:
            yield _offer("heading", heading, section.text)


def _by_sentence(parts: Outline) -> Iterator[Offer]:
    for section in parts.sections:
        text = without_beginning(section.text, section.heading) if section.heading else section.text
        sentence = first_sentence(text)
        if sentence is not None and _can_ask(sentence):
            yield _offer("sentence", sentence, text)


def _offer(kind: Kind, query: str, text: str) -> Offer:
    return Offer(kind, " ".join(query.split()), without_beginning(text, query))


def _can_ask(query: str) -> bool:
    return 1 <= word_count(query) <= _MAX_QUERY_WORDS


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
