"""Padded texts in chunks of similar length. Axes: n texts, L tokens, C texts of a chunk."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Right-padded token ids and their mask, each (n, L).
TokenBatch = tuple[Tensor, Tensor]


def length_sorted_chunks(batch: TokenBatch, size: int) -> tuple[list[TokenBatch], Tensor]:
    """Chunks of at most `size` texts, the longest first, each as wide as its longest text.

    Returns:
        The chunks, and the place (n,) of each text among the rows of all of them.
    """
    lengths = batch[1].sum(dim=1)
    order = lengths.argsort(descending=True, stable=True)
    chunks = [_trimmed(batch, rows, int(lengths[rows[0]])) for rows in torch.split(order, size)]
    return chunks, order.argsort()


def _trimmed(batch: TokenBatch, rows: Tensor, length: int) -> TokenBatch:
    input_ids, attention_mask = batch
    return input_ids[rows, :length], attention_mask[rows, :length]


def chunked_together(batches: Sequence[TokenBatch], size: int) -> tuple[list[TokenBatch], list[Tensor]]:
    """The chunks of several batches in one list, and for each batch its texts' places among all rows."""
    chunks: list[TokenBatch] = []
    places: list[Tensor] = []
    start = 0
    for batch in batches:
        found, place = length_sorted_chunks(batch, size)
        chunks += found
        places.append(place + start)
        start += len(place)
    return chunks, places
