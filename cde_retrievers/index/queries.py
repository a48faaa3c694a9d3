"""Queries as an index searches for them: vectors, sparse rows of their words, or both. Axes: Q queries, W width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cde_retrievers.validation.vectors import Embeddings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Mode = Literal["hybrid", "dense", "lexical"]
_SCORES = 1 << 23  # lexical scores in memory at a time: 32 MB


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQueries:
    """Queries under the context of an index; at least one view of each.

    Attributes:
        dense: unit vectors (Q, W); None to search by words alone.
        sparse: rows (Q, 2^24) whose products with those of documents are BM25; None to search by vectors alone.
    """

    dense: Embeddings | None
    sparse: "csr_matrix | None"

    def __len__(self) -> int:
        return len(self.dense) if self.dense is not None else self.sparse.shape[0] if self.sparse is not None else 0

    def blocks(self, rows: int) -> Iterator["EncodedQueries"]:
        """Yield a few queries at a time, so that their lexical scores for that many rows fit into memory."""
        if self.sparse is None:
            yield self
            return
        step = max(1, _SCORES // max(1, rows))
        for start in range(0, self.sparse.shape[0], step):
            dense = None if self.dense is None else self.dense[start : start + step]
            yield EncodedQueries(dense, self.sparse[start : start + step])
