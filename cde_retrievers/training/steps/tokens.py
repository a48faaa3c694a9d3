"""Texts as token ids, tokenised once for all epochs. Axes: n texts, B texts of a batch, L tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cde_retrievers.batches import text_windows
from cde_retrievers.text import TextTokenizer


class TokenTable:
    """Token ids of distinct texts, end to end in one array of 32-bit numbers.

    Args:
        texts: n texts, without the prompt.
        prompt: put before each.
        tokenizer: of the model; cuts what is too long.
    """

    def __init__(self, texts: Sequence[str], prompt: str, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        parts: list[NDArray[np.int32]] = []
        lengths: list[int] = []
        for start, stop in text_windows(texts):
            rows = tokenizer.encode([prompt + text for text in texts[start:stop]])
            parts.append(np.concatenate(rows).astype(np.int32))
            lengths += [len(row) for row in rows]
        self._ids = np.concatenate(parts)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - np.asarray(lengths)

    def __len__(self) -> int:
        return len(self._ends)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Row numbers (B,) -> right-padded token ids and their mask, each (B, L)."""
        return self._tokenizer.pad([self._ids[self._starts[row] : self._ends[row]].astype(np.int64) for row in rows])
