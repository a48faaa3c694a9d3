"""Split long texts into parts that a model can read whole; nothing is lost or repeated."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cde_retrievers.corpora.read_options import Split
from cde_retrievers.corpora.records import Record
from cde_retrievers.retrieval.document import Document

# From the coarsest boundary to the finest; each finds what lies between two boundaries.
_PARAGRAPH = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"\S.*?(?:(?<=[.!?:;])(?=\s)|(?=\n)|\Z)", re.DOTALL)
_WORD = re.compile(r"\S+")
# Punctuation counts too: tables and code have much of it, and to a model each mark is a token.
_COUNTED = re.compile(r"[^\W_]+|[^\w\s]|_")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_FENCE = re.compile(r" {0,3}(```|~~~)")

# A longer line is a text: as a heading it would be copied into the metadata of every part below it.
_LONGEST_HEADING = 1_000

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's own text: from the heading to the next one of any level."""

    heading: str | None
    text: str


def split_record(record: Record, split: Split, max_words: int) -> Iterator[Record]:
    """Yield the parts of a record as documents.

    Their ids end in "#1", "#2" and so on; `part` and `heading` are in the metadata. A record without text
    stays as it is.
    """
    document = record.document
    sections = markdown_sections(document.text) if split == "headings" else [Section(None, document.text)]
    number = 0
    for section in sections:
        heading = {} if section.heading is None else {"heading": section.heading}
        for part in parts_of(section.text, max_words):
            number += 1
            metadata = {**document.metadata, **heading, "part": number}
            yield replace(record, document=Document(part, f"{document.id}#{number}", metadata))
    if number == 0:
        yield record


def markdown_sections(text: str) -> list[Section]:
    """Return the sections of a Markdown text, in order; the text before the first heading has none."""
    sections: list[Section] = []
    heading: str | None = None
    fence: str | None = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = mark[1] if fence is None else None
        title = _heading(line) if fence is None else None
        if title is not None:
            sections.append(Section(heading, "".join(lines)))
            heading, lines = title, []
        lines.append(line)
    return [*sections, Section(heading, "".join(lines))]


def _heading(line: str) -> str | None:
    """Return the text of a heading line, or None for other lines."""
    mark = _HEADING.match(line)
    if mark is None or len(line) > _LONGEST_HEADING:
        return None
    return line[mark.end() :].rstrip("\r\n").rstrip(" \t#")


def parts_of(text: str, max_words: int) -> Iterator[str]:
    """Yield consecutive parts of the text, each as long as `max_words` words and punctuation marks allow, cut between
    paragraphs where that is possible, else between sentences or lines, else between words.
    """
    begin = end = words = 0
    for start, stop in _pieces(text, (0, len(text)), (_PARAGRAPH, _SENTENCE, _WORD), max_words):
        count = _words(text[start:stop])
        if words and words + count > max_words:
            yield text[begin:end]
            words = 0
        begin = begin if words else start
        end, words = stop, words + count
    if words:
        yield text[begin:end]


def _pieces(text: str, span: Span, boundaries: tuple[re.Pattern[str], ...], max_words: int) -> Iterator[Span]:
    """Yield spans of at most `max_words` words, cut at the coarsest boundary that makes them so short."""
    for match in boundaries[0].finditer(text, *span):
        if len(boundaries) > 1 and _words(match[0]) > max_words:
            yield from _pieces(text, match.span(), boundaries[1:], max_words)
        else:
            yield match.span()


def _words(text: str) -> int:
    return sum(1 for _ in _COUNTED.finditer(text))
