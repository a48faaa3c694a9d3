"""Blocks as pieces that fit: whole where they do, else cut at the coarsest boundary that makes them fit."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cde_retrievers.corpora.markdown import Block
from cde_retrievers.corpora.token_count import TokenCount

_SENTENCE = re.compile(r"\S.*?(?:(?<=[.!?:;])(?=\s)|(?<=[\u3002\uff01\uff1f])|(?=\n)|\Z)", re.DOTALL)
_SHORTEST_SLICE = 40  # characters
_SPACE = re.compile(r"\s+")
_LEAD = 4  # what begins an item is repeated if it takes at most this part of the room


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What begins and ends code, a table or an item of a list, and its tokens."""

    begin: str
    end: str
    size: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that is not cut any further.

    Attributes:
        text: of the piece.
        size: its tokens.
        joint: what stands between the piece before and this one.
        frames: what begins and ends the code, the table and the items that this is a part of, from the outermost on;
            stands once around neighbours that share it.
        keep_with_next: whether it belongs to the piece behind it, as a heading does.
    """

    text: str
    size: int
    joint: str = "\n\n"
    frames: tuple[Frame, ...] = ()
    keep_with_next: bool = False


def pieces_of(
    blocks: Sequence[Block], room: int, tokens: TokenCount, frames: tuple[Frame, ...] = ()
) -> Iterator[Piece]:
    """Yield the blocks as pieces of at most `room` tokens, each within the frames.

    A block that does not fit together with what it must stay with is cut, so that its beginning does.
    """
    sizes = tokens.sizes([block.text for block in blocks])
    before = 0
    for block, size in zip(blocks, sizes, strict=True):
        if size <= room - before:
            yield Piece(block.text, size, block.joint, frames, block.keep_with_next)
        elif block.inner:
            yield from _inner(block, room, tokens, frames)
        elif block.frame is not None:
            yield from _framed(block, block.frame, room, tokens, frames)
        else:
            yield from _prose(block, room, tokens, frames)
        before = before + size if block.keep_with_next else 0
        before = before if before <= room // 2 else 0


def joined(pieces: Sequence[Piece]) -> str:
    """Return the text of neighbouring pieces."""
    parts: list[str] = []
    around: tuple[Frame, ...] = ()
    for piece in pieces:
        shared = _shared(around, piece.frames)
        parts.extend(frame.end for frame in reversed(around[shared:]))
        if parts:
            parts.append(piece.joint)
        parts.extend(frame.begin for frame in piece.frames[shared:])
        parts.append(piece.text)
        around = piece.frames
    return "".join((*parts, *(frame.end for frame in reversed(around))))


def size_after(before: Piece | None, piece: Piece) -> int:
    """Return the tokens that a piece adds behind another, with those of frames that begin with it."""
    shared = 0 if before is None else _shared(before.frames, piece.frames)
    return piece.size + sum(frame.size for frame in piece.frames[shared:])


def _shared(some: tuple[Frame, ...], others: tuple[Frame, ...]) -> int:
    """Return how many frames, from the outermost on, are the same."""
    differing = (place for place, (one, other) in enumerate(zip(some, others, strict=False)) if one is not other)
    return next(differing, min(len(some), len(others)))


def sentences(text: str) -> list[tuple[str, str]]:
    """Return the sentences of a text, each with the space before it."""
    spans = [match.span() for match in _SENTENCE.finditer(text)]
    ends = [0, *(end for _, end in spans)]
    return [(text[before:begin], text[begin:end]) for before, (begin, end) in zip(ends, spans, strict=False)]


def _inner(block: Block, room: int, tokens: TokenCount, frames: tuple[Frame, ...]) -> Iterator[Piece]:
    """Yield what is in a list, a quotation or an item; how an item begins is repeated where it is short."""
    first, *others = block.inner
    if block.is_item and others:
        begin = first.text + others[0].joint
        size = tokens.size(begin)
        if size <= room // _LEAD:
            inner = (replace(others[0], joint=block.joint), *others[1:])
            return pieces_of(inner, room - size, tokens, (*frames, Frame(begin, "", size)))
    return pieces_of((replace(first, joint=block.joint), *others), room, tokens, frames)


def _framed(
    block: Block, frame: tuple[str, str], room: int, tokens: TokenCount, frames: tuple[Frame, ...]
) -> Iterator[Piece]:
    """Yield lines of code or rows of a table; a frame that takes most of the room is left out."""
    size = tokens.size("".join(frame))
    kept, inside = ((*frames, Frame(*frame, size)), room - size) if size < room // 2 else (frames, room)
    joint = block.joint
    for line, size in zip(block.lines, tokens.sizes(block.lines), strict=True):
        if size <= inside:
            yield Piece(line, size, joint, kept)
        else:
            yield from _sliced(line, joint, inside, tokens, kept)
        joint = "\n"


def _prose(block: Block, room: int, tokens: TokenCount, frames: tuple[Frame, ...]) -> Iterator[Piece]:
    """Yield sentences; the last stays with what the block must stay with."""
    found = sentences(block.text)
    sizes = tokens.sizes([sentence for _, sentence in found])
    for number, ((space, sentence), size) in enumerate(zip(found, sizes, strict=True), 1):
        before = space if number > 1 else block.joint
        if size <= room:
            yield Piece(sentence, size, before, frames, block.keep_with_next and number == len(found))
        else:
            yield from _sliced(sentence, before, room, tokens, frames)


def _sliced(text: str, joint: str, room: int, tokens: TokenCount, frames: tuple[Frame, ...]) -> Iterator[Piece]:
    """Yield slices of a text between words, or where there are no words, between characters."""
    width = max(room // 2, _SHORTEST_SLICE)
    slices = re.compile(rf"\s*+(?:\S.{{0,{width - 1}}}(?=\s|\Z)|\S{{1,{width}}})", re.DOTALL)
    found = [match[0] for match in slices.finditer(text.rstrip())]
    waiting = list(zip(found, tokens.sizes(found), strict=True))[::-1]
    while waiting:
        piece, size = waiting.pop()
        if size > room and len(piece.strip()) > 1:
            halves = _halves(piece)
            waiting += list(zip(halves, tokens.sizes(halves), strict=True))[::-1]
            continue
        bare = piece.lstrip()
        if bare:
            yield Piece(bare, size, joint or piece[: len(piece) - len(bare)], frames)
        joint = ""


def _halves(text: str) -> list[str]:
    """Return a text in two, cut at the space nearest to its middle."""
    text = text.strip()
    middle = len(text) // 2
    spaces = [match.start() for match in _SPACE.finditer(text)]
    cut = min(spaces, key=lambda place: abs(place - middle), default=middle)
    return [text[:cut], text[cut:]]
