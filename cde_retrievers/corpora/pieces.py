"""Blocks as pieces that fit: whole where they do, else cut at the coarsest boundary that makes them fit."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cde_retrievers.corpora.markdown import Block
from cde_retrievers.corpora.token_count import TokenCount

_SENTENCE = re.compile(r"\S.*?(?:(?<=[.!?:;])(?=\s)|(?<=[\u3002\uff01\uff1f])|(?=\n)|\Z)", re.DOTALL)
_SHORTEST_SLICE = 40  # characters
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Frame:
    """What begins and ends code or a table, and its tokens."""

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
        frame: what begins and ends the code or the table that this is a part of, once for neighbours of one frame.
        is_heading: whether it belongs to the piece behind it.
    """

    text: str
    size: int
    joint: str = "\n\n"
    frame: Frame | None = None
    is_heading: bool = False


def pieces_of(blocks: Sequence[Block], room: int, tokens: TokenCount) -> Iterator[Piece]:
    """Yield the blocks as pieces of at most `room` tokens, frames included."""
    sizes = tokens.sizes([block.text for block in blocks])
    for block, size in zip(blocks, sizes, strict=True):
        if size <= room:
            yield Piece(block.text, size, block.joint, is_heading=block.is_heading)
        elif block.inner:
            yield from pieces_of(block.inner, room, tokens)
        elif block.frame is not None:
            yield from _framed(block, block.frame, room, tokens)
        else:
            yield from _prose(block.text, block.joint, room, tokens)


def joined(pieces: Sequence[Piece]) -> str:
    """Return the text of neighbouring pieces."""
    parts: list[str] = []
    frame: Frame | None = None
    for piece in pieces:
        if frame is not None and piece.frame is not frame:
            parts.append(frame.end)
        if parts:
            parts.append(piece.joint)
        if piece.frame is not None and piece.frame is not frame:
            parts.append(piece.frame.begin)
        parts.append(piece.text)
        frame = piece.frame
    return "".join((*parts, frame.end if frame else ""))


def sentences(text: str) -> list[tuple[str, str]]:
    """Return the sentences of a text, each with the space before it."""
    spans = [match.span() for match in _SENTENCE.finditer(text)]
    ends = [0, *(end for _, end in spans)]
    return [(text[before:begin], text[begin:end]) for before, (begin, end) in zip(ends, spans, strict=False)]


def _framed(block: Block, frame: tuple[str, str], room: int, tokens: TokenCount) -> Iterator[Piece]:
    """Yield lines of code or rows of a table; a frame that takes most of the room is left out."""
    size = tokens.size("".join(frame))
    kept, inside = (Frame(*frame, size), room - size) if size < room // 2 else (None, room)
    joint = block.joint
    for line, size in zip(block.lines, tokens.sizes(block.lines), strict=True):
        if size <= inside:
            yield Piece(line, size, joint, kept)
        else:
            for piece in _sliced(line, joint, inside, tokens):
                yield Piece(piece.text, piece.size, piece.joint, kept)
        joint = "\n"


def _prose(text: str, joint: str, room: int, tokens: TokenCount) -> Iterator[Piece]:
    found = sentences(text)
    sizes = tokens.sizes([sentence for _, sentence in found])
    for number, ((space, sentence), size) in enumerate(zip(found, sizes, strict=True)):
        before = space if number else joint
        if size <= room:
            yield Piece(sentence, size, before)
        else:
            yield from _sliced(sentence, before, room, tokens)


def _sliced(text: str, joint: str, room: int, tokens: TokenCount) -> Iterator[Piece]:
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
            yield Piece(bare, size, joint or piece[: len(piece) - len(bare)])
        joint = ""


def _halves(text: str) -> list[str]:
    """Return a text in two, cut at the space nearest to its middle."""
    text = text.strip()
    middle = len(text) // 2
    spaces = [match.start() for match in _SPACE.finditer(text)]
    cut = min(spaces, key=lambda place: abs(place - middle), default=middle)
    return [text[:cut], text[cut:]]
