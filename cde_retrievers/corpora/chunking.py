"""Pieces put together to chunks of a given number of tokens, with an overlap."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from cde_retrievers.corpora.markdown import Block
from cde_retrievers.corpora.pieces import Piece, joined, pieces_of, sentences, size_after
from cde_retrievers.corpora.token_count import TokenCount

Fits = Callable[[Sequence[Piece]], bool]

_LEAST_FILLED = 4  # a last chunk of less than this part of the room is evened out with the one before


def chunks_of(blocks: Sequence[Block], head: str, limit: int, overlap: int, tokens: TokenCount) -> Iterator[str]:
    """Yield chunks of at most `limit` tokens, each as full as the blocks allow.

    Args:
        blocks: in their order.
        head: begins every chunk.
        limit: tokens of a chunk, with its head.
        overlap: tokens that a chunk repeats of the one before, at most.
        tokens: counts them.
    """
    whole = head + text_of(blocks)
    if tokens.size(whole) <= limit:
        yield whole
        return
    room = limit - (tokens.size(head) if head else 0)
    overlap = min(overlap, room // 2)
    room -= overlap

    def fits(pieces: Sequence[Piece]) -> bool:
        return tokens.size(head + joined(pieces)) <= limit

    packed = list(_packed(list(pieces_of(blocks, room, tokens)), room, fits))
    repeated: list[Piece] = []
    for group in _evened(packed, room, fits):
        yield head + joined([*_fitting_before(group, repeated, fits), *group])
        repeated = _end_of(group, overlap, tokens) if overlap else []


def text_of(blocks: Sequence[Block]) -> str:
    """Return the text of neighbouring blocks."""
    return "".join(block.joint + block.text for block in blocks).strip("\n")


def _packed(pieces: Sequence[Piece], room: int, fits: Fits) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    filled = 0
    for piece in pieces:
        size = size_after(group[-1] if group else None, piece)
        if group and filled + size > room and (done := _fitting(group, fits)):
            yield done
            group = group[len(done) :]
            filled = sum(each.size for each in group)
        group.append(piece)
        filled += size
    while group:
        done = _fitting(group, fits)
        yield done
        group = group[len(done) :]


def _fitting(pieces: list[Piece], fits: Fits) -> list[Piece]:
    """Return the first pieces, as many as fit together: a text may have more tokens than its pieces."""
    end = len(pieces)
    if not fits(pieces):
        end = 1 + bisect_left(range(2, end), True, key=lambda count: not fits(pieces[:count]))
    return _without_last_headings(pieces[:end]) or pieces[:end]


def _fitting_before(group: list[Piece], repeated: list[Piece], fits: Fits) -> list[Piece]:
    """Return the last of the repeated pieces, as many as fit before the group."""
    if not repeated or fits([*repeated, *group]):
        return repeated
    first = 1 + bisect_left(range(1, len(repeated)), True, key=lambda start: fits([*repeated[start:], *group]))
    return repeated[first:]


def _without_last_headings(pieces: list[Piece]) -> list[Piece]:
    end = len(pieces)
    while end and pieces[end - 1].keep_with_next:
        end -= 1
    return pieces[:end]


def _evened(groups: list[list[Piece]], room: int, fits: Fits) -> list[list[Piece]]:
    """Share the pieces of the last two groups between both if the last is small."""
    if len(groups) < 2 or sum(piece.size for piece in groups[-1]) * _LEAST_FILLED > room:
        return groups
    pieces = [*groups[-2], *groups[-1]]
    sizes = [piece.size for piece in pieces]
    half, cut, filled = sum(sizes) / 2, 0, 0
    while cut < len(groups[-2]) - 1 and filled + sizes[cut] <= half:
        filled += sizes[cut]
        cut += 1
    first = _without_last_headings(pieces[:cut])
    rest = pieces[len(first) :]
    return [*groups[:-2], first, rest] if first and sum(piece.size for piece in rest) <= room and fits(rest) else groups


def _end_of(group: Sequence[Piece], overlap: int, tokens: TokenCount) -> list[Piece]:
    """Return the last pieces of a group, at most `overlap` tokens; else its last sentences, else its last words."""
    first, filled = len(group), 0
    while first and filled + group[first - 1].size <= overlap:
        first -= 1
        filled += group[first].size
    kept, last = list(group[first:]), group[-1]
    if not kept and not last.frames:
        text = _tail(last.text, overlap, tokens)
        kept = [Piece(text, tokens.size(text))] if text else []
    return kept


def _tail(text: str, overlap: int, tokens: TokenCount) -> str:
    found = sentences(text)
    sizes = tokens.sizes([sentence for _, sentence in found])
    first, total = len(found), 0
    while first and total + sizes[first - 1] <= overlap:
        first, total = first - 1, total + sizes[first - 1]
    if first < len(found):
        return "".join((found[first][1], *(space + sentence for space, sentence in found[first + 1 :])))
    words = found[-1][1].split() if found else []
    low, high = 0, min(len(words), overlap)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens.size(" ".join(words[-middle:])) <= overlap else (low, middle - 1)
    return " ".join(words[-low:]) if low else ""
