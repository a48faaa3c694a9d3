"""Sections put together to groups that are split as one, so that no part is a title or a few words alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cde_retrievers.corpora.chunking import text_of
from cde_retrievers.corpora.markdown import Block, Section
from cde_retrievers.corpora.token_count import TokenCount

_SMALL = 8  # what has less than this part of the room is put together with its neighbours
_FEW_WORDS = 8
_NEARLY = 0.75
_WORD = re.compile(r"\w+")
_POINTER = re.compile(r"\W*see\b", re.IGNORECASE)
_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")


def with_text(sections: Sequence[Section]) -> list[Section]:
    """Return the sections that have a text. Titles without one go to the next section, of which they are a title too,
    and which keeps them in its path if it stands below them.
    """
    found: list[Section] = []
    titles: list[Section] = []
    for section in sections:
        if section.blocks:
            others = [title for title in titles if section.path[: len(title.path)] != title.path]
            found.append(replace(section, blocks=(*map(title_block, others), *section.blocks)))
            titles = []
        elif section.heading is not None:
            titles.append(section)
    bare = tuple(map(title_block, titles))
    if bare and found:
        found[-1] = replace(found[-1], blocks=(*found[-1].blocks, *bare))
    elif bare:
        found.append(Section(None, "", blocks=bare))
    return found


def title_block(section: Section) -> Block:
    """Return the title of a section as a heading."""
    return Block(f"{'#' * section.level} {section.heading}", keep_with_next=True)


@dataclass(slots=True)
class Group:
    """Neighbouring sections that are split as one.

    Attributes:
        sections: in their order.
        path: the titles that all of them stand below.
        depth: the most titles that one of them stands below.
        filled: its tokens, about; as many as a part may have where it takes no other in.
        size: its tokens, about.
        is_full: whether a section that says little ends it.
    """

    sections: list[Section]
    path: tuple[str, ...]
    depth: int
    filled: int
    size: int
    is_full: bool = False

    def is_related(self, section: Section) -> bool:
        """Whether a section stands below the same heading as these, or below the only one."""
        path = _common_path(self.path, section.path)
        return bool(path) and not self.is_full and max(self.depth, len(section.path)) - len(path) <= 1

    def add(self, section: Section, size: int) -> None:
        """Take a section in."""
        self.sections.append(section)
        self.path = _common_path(self.path, section.path)
        self.depth = max(self.depth, len(section.path))
        self.filled += size
        self.size += size

    def has_room(self, section: Section, size: int, chunk_tokens: int) -> bool:
        """Whether a section of the same title fits behind these, so that what is whole is not cut for its sake."""
        fits = self.size + size <= chunk_tokens * _NEARLY or self.size > chunk_tokens
        return fits and self.path[:1] == section.path[:1] and not self.is_full

    def append(self, section: Section, size: int) -> None:
        """Take in a section that says too little to be found, and keep the path; two of them may say something."""
        self.sections.append(section)
        self.size += size
        self.is_full = True


def grouped(sections: Sequence[Section], chunk_tokens: int, tokens: TokenCount) -> Iterator[Group]:
    """Yield the sections, small neighbours below one heading together as far as they fit.

    Args:
        sections: with a text.
        chunk_tokens: of a part.
        tokens: counts them.
    """
    small = chunk_tokens // _SMALL
    sizes = tokens.sizes([text_of(section.blocks) for section in sections])
    group: Group | None = None
    for section, size in zip(sections, sizes, strict=True):
        whole = size + tokens.size(str(section.heading)) + section.level + 1 if size < small else size
        added = whole if size < small else chunk_tokens
        if group is not None and group.filled + added <= chunk_tokens // 2 and group.is_related(section):
            group.add(section, added)
            continue
        if group is not None and _says_little(section) and group.has_room(section, whole, chunk_tokens):
            group.append(section, whole)
            continue
        if group is not None:
            yield group
        group = Group([section], section.path, len(section.path), added, whole)
    if group is not None:
        yield group


def _says_little(section: Section) -> bool:
    """Whether a section is a few words that are no sentence, or only point elsewhere."""
    if len(section.blocks) != 1 or section.blocks[0].frame is not None:
        return False
    text = section.blocks[0].text.strip()
    words = len(_WORD.findall(text))
    return words <= _FEW_WORDS and (bool(_POINTER.match(text)) or not text.endswith(_SENTENCE_ENDS))


def _common_path(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    differing = (place for place, (title, its) in enumerate(zip(one, other, strict=False)) if title != its)
    return one[: next(differing, min(len(one), len(other)))]
