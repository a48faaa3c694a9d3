"""Documents split into parts that a model can read whole, each under the headings that it stands below."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from cde_retrievers.corpora.chunking import chunks_of
from cde_retrievers.corpora.grouping import grouped, title_block, with_text
from cde_retrievers.corpora.markdown import Block, Section, markdown_sections
from cde_retrievers.corpora.plain_text import plain_blocks, plain_sections
from cde_retrievers.corpora.records import Markup, Record
from cde_retrievers.corpora.token_count import TokenCount
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.retrieval.document import Document

__all__ = ["PartRules", "Section", "markdown_sections", "sections_of", "split_record", "text_below_path"]

_BETWEEN_TITLES = " > "
_LONGEST_LABEL = 200
_HASH = 8


@dataclass(frozen=True, slots=True)
class PartRules:
    """How long parts are.

    Attributes:
        tokens: counts them.
        chunk_tokens: of a part, its headings included.
        overlap: tokens that a part repeats of the one before it in its section.
    """

    tokens: TokenCount
    chunk_tokens: int
    overlap: int = 0

    @classmethod
    def of(cls, tokens: TokenCount, chunk_tokens: int | None, overlap: int) -> "PartRules":
        """Return the rules; a part is as long as the model reads if nothing else is said.

        Raises:
            ConfigurationError: it is unknown how many tokens that are, or the overlap takes more than half of it.
        """
        limit = chunk_tokens or tokens.room
        if limit is None:
            raise ConfigurationError(
                "how many tokens a part may have cannot be told from a function that counts them; give chunk_tokens="
            )
        if overlap > limit // 2:
            raise ConfigurationError(
                f"the overlap of {overlap} tokens is more than half of a part of {limit} tokens; give a smaller "
                f"overlap= (--overlap), or larger parts with chunk_tokens= (--chunk-tokens)"
            )
        return cls(tokens, limit, overlap)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a document.

    Attributes:
        path: the titles that it stands below.
        text: without them.
        metadata: of its own.
    """

    path: tuple[str, ...]
    text: str
    metadata: dict[str, Any]


def split_record(record: Record, by_headings: bool, rules: PartRules) -> Iterator[Record]:
    """Yield the parts of a record as documents: below its headings, or between paragraphs.

    The titles above a part stand in its text, and with `heading` and `heading_path` in its metadata. A record without
    text stays as it is.
    """
    sections = sections_of(record.document.text, record.markup if by_headings else "code")
    yield from as_documents(record, _parts(sections, rules))


def sections_of(text: str, markup: Markup) -> list[Section]:
    """Return the sections of a text, in order; the first is what stands before any heading."""
    if markup == "markdown":
        return markdown_sections(text)
    return plain_sections(text) if markup == "text" else [Section(None, text, blocks=plain_blocks(text))]


def as_documents(record: Record, parts: Iterable[Part]) -> Iterator[Record]:
    """Yield the parts as documents whose ids tell their place by its headings, and where that is not enough by their
    text, so that what is added elsewhere in the file leaves them alone. `part_of` is the id of the whole.
    """
    known = list(parts)
    document = record.document
    for part, label in zip(known, _labels(known), strict=True):
        path = {"heading": part.path[-1], "heading_path": _BETWEEN_TITLES.join(part.path)} if part.path else {}
        metadata = {**document.metadata, **part.metadata, **path, "part_of": document.id}
        yield replace(record, document=Document(part.text, f"{document.id}{label}", metadata))
    if not known:
        yield replace(record, document=replace(document, text=""))


def text_below_path(document: Document) -> str:
    """Return the text of a part without the titles that stand above it."""
    path = document.metadata.get("heading_path")
    return document.text.removeprefix(path).lstrip("\n") if isinstance(path, str) else document.text


def _parts(sections: Sequence[Section], rules: PartRules) -> Iterator[Part]:
    for group in grouped(with_text(sections), rules.chunk_tokens, rules.tokens):
        blocks = [block for section in group.sections for block in _blocks_below(section, group.path)]
        head = _head(group.path, rules)
        for chunk in chunks_of(blocks, head, rules.chunk_tokens, rules.overlap, rules.tokens):
            yield Part(group.path, chunk, {})


def _blocks_below(section: Section, path: tuple[str, ...]) -> tuple[Block, ...]:
    return section.blocks if section.path == path else (title_block(section), *section.blocks)


def _head(path: tuple[str, ...], rules: PartRules) -> str:
    """Return the titles as they stand above a part; the outermost are left out where they take half of its room."""
    while path:
        head = _BETWEEN_TITLES.join(path) + "\n\n"
        if rules.tokens.size(head) <= rules.chunk_tokens // 2:
            return head
        path = path[1:]
    return ""


def _labels(parts: Sequence[Part]) -> Iterator[str]:
    """Yield what tells the parts of one document apart: nothing for one without a heading, else the path; a hash of
    the text where a path has several parts; and a number where even that is the same.
    """
    paths = [_short("/".join(part.path)) for part in parts]
    counts = Counter(paths)
    repeated: Counter[str] = Counter()
    taken: set[str] = set()
    for part, path in zip(parts, paths, strict=True):
        label = f"#{path}" if path else ""
        if counts[path] > 1:
            label = f"{label}#{_hash(part.text)}"
        unique = label
        while unique in taken:
            repeated[label] += 1
            unique = f"{label}#{repeated[label] + 1}"
        taken.add(unique)
        yield unique


def _short(path: str) -> str:
    return path if len(path) <= _LONGEST_LABEL else f"{path[:_LONGEST_LABEL]}~{_hash(path)}"


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
