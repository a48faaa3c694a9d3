"""Queries made from a document itself: title for body, heading for section, first sentence for the rest.

Each query is removed from the start of its answer, or else a model would only learn to compare strings.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from cde_retrievers.corpora.readers.documents import markup_of
from cde_retrievers.corpora.splitting import Section, sections_of, text_below_path
from cde_retrievers.retrieval.document import Document

Kind = Literal["title", "heading", "sentence"]

NO_TEXT = "no text"
NO_QUERY = "no title, no heading of its own, no first sentence to ask with"
TOO_LITTLE = "too little text after the would-be query"

_MAX_QUERY_WORDS = 40
# Scripts that put no spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese): a character is a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_WIDE_ENDS = r"\u3002\uff01\uff1f"
_CLOSING = r"[\"')\]\u2019\u201d\u300d\u300f\uff09]*"
_SENTENCE_END = re.compile(rf"(?<=[.!?]){_CLOSING}(?=\s)|(?<=[{_WIDE_ENDS}]){_CLOSING}|(?=\n[^\S\n]*\n)")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]|Dr|Mrs?|Ms|Prof|St|vs|etc|cf|al|Fig|No|i\.e|e\.g)\.\Z", re.IGNORECASE)
_LONGEST_ABBREVIATION = 8
# What stands around a title: line breaks, rules, marks of emphasis and headings, punctuation.
_AROUND = r"[\s#=\-*_:.,;|\u2013\u2014]*+"
_LEADING = re.compile(_AROUND)
_MIN_SENTENCE_WORDS = 4


@dataclass(frozen=True, slots=True)
class PseudoQuery:
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
        """The headings in a form in which they can be compared."""
        return {plain(section.heading) for section in self.sections if section.heading}


def outline(document: Document) -> Outline:
    """Return the parts that a document is divided into.

    Its title is the metadata's `title`, else the heading that a text of several begins with. A part that
    `ReadOptions(split="headings")` made is one section, whose heading its metadata gives.
    """
    title, heading = (_text_or_none(document.metadata.get(field)) for field in ("title", "heading"))
    if heading is not None:
        return Outline(title, (Section(heading, text_below_path(document)),))
    file = _text_or_none(document.metadata.get("file"))
    preamble, *sections = sections_of(document.text, markup_of(file or ""))
    if title is None and not preamble.text.strip() and len(sections) > 1 and sections[0].heading:
        title = sections[0].heading
    return Outline(title, (preamble, *sections))


def pseudo_queries(
    document: Document, parts: Outline, general: frozenset[str], kinds: Collection[Kind], min_words: int
) -> list[PseudoQuery] | str:
    """Return the queries that the document gives, or the reason why it gives none.

    The first sentence is used only without a title or headings, which are more like what people type.

    Args:
        document: with its text.
        parts: its outline.
        general: headings that other documents have as well, such as "introduction".
        kinds: which queries to make.
        min_words: of a positive.
    """
    if not document.text.strip():
        return NO_TEXT
    candidates = [each for each in _by_name(document, parts, general) if each.kind in kinds]
    fitting = [each for each in candidates if word_count(each.positive) >= min_words]
    if not fitting and "sentence" in kinds:
        candidates += _by_sentence(parts)
        fitting = [each for each in candidates if word_count(each.positive) >= min_words][:1]
    return fitting or (TOO_LITTLE if candidates else NO_QUERY)


def _by_name(document: Document, parts: Outline, general: frozenset[str]) -> Iterator[PseudoQuery]:
    """Yield the title with all of the text, and each heading with its own section."""
    if parts.title and _can_ask(parts.title):
        yield _asking("title", parts.title, document.text)
    for section in parts.sections:
        heading = section.heading or ""
        is_title = parts.title is not None and plain(heading) == plain(parts.title)
        if _can_ask(heading) and not is_title and plain(heading) not in general:
            yield _asking("heading", heading, section.text)


def _by_sentence(parts: Outline) -> Iterator[PseudoQuery]:
    for section in parts.sections:
        text = without_beginning(section.text, section.heading) if section.heading else section.text
        sentence = first_sentence(text)
        if sentence is not None and _can_ask(sentence):
            yield _asking("sentence", sentence, text)


def _asking(kind: Kind, query: str, text: str) -> PseudoQuery:
    return PseudoQuery(kind, " ".join(query.split()), without_beginning(text, query))


def _can_ask(query: str) -> bool:
    return 1 <= word_count(query) <= _MAX_QUERY_WORDS


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def word_count(text: str) -> int:
    """Count the words, or the characters in scripts without spaces."""
    return sum(1 for _ in _WORD.finditer(text))


def plain(text: str) -> str:
    """Return the text in lower case, with one space between words."""
    return " ".join(text.split()).casefold()


def without_beginning(text: str, query: str) -> str:
    """Remove the query from the text's start, repeatedly; a text that does not start with it is unchanged.

    Upper and lower case, spaces, line breaks and the marks of a heading do not count. Empty if the rest would begin
    with the query still, in the middle of a word.
    """
    text = text.strip()
    # Marks before the query are passed over without a second try, since that would take the square of the time.
    words = r"\s++".join(map(re.escape, _LEADING.sub("", query, count=1).split()))
    # Case is ignored in the words alone: with the ranges of characters it would take long to compile.
    beginning = re.compile(rf"{_AROUND}(?i:{words})(?:(?![^\W_])|(?=[{_UNSPACED}])){_AROUND}")
    end = 0
    while words and (match := beginning.match(text, end)):
        end = match.end()
    rest = text[end:]
    return "" if plain(rest).startswith(plain(query)) else rest


def first_sentence(text: str) -> str | None:
    """Return the shortest beginning that ends as a sentence or paragraph does and has a few words.

    None if that is all of the text.
    """
    text = text.strip()
    words = before = 0
    for end in _sentence_ends(text):
        words, before = words + word_count(text[before:end]), end
        if words >= _MIN_SENTENCE_WORDS:
            return " ".join(text[:end].split()) if end < len(text) else None
    return None


def _sentence_ends(text: str) -> Iterator[int]:
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        goes_on = text[end : end + 16].lstrip()[:1].islower()
        if not goes_on and not _ABBREVIATION.search(text[max(0, end - _LONGEST_ABBREVIATION) : end]):
            yield end
