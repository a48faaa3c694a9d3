"""Vectors in fewer bytes, searched as they are stored: a few rows at a time become float32, in the processor's cache.

Axes: R and n rows, Q queries, W numbers of a vector, B numbers of a stored row.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.vector_format import Codes, VectorFormat
from cde_retrievers.retrieval.exact_search import Rows, Scores, inner_products
from cde_retrievers.validation.vectors import Embeddings

_AT_ONCE = 1 << 20
"""Numbers that become float32 at a time: 4 MB."""


class PackedVectors:
    """Unit vectors in "int8" or "binary"; `self[rows]` copies some as (n, W) float32.

    Args:
        codes: the stored rows (R, B), mapped from a file.
        form: how they are stored.
    """

    def __init__(self, codes: Codes, form: VectorFormat) -> None:
        self._codes = codes
        self._form = form

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def shape(self) -> tuple[int, int]:
        """(R, W)."""
        return len(self), self._form.dimensions

    def __getitem__(self, rows: slice | Rows) -> Embeddings:
        return self._form.decoded(self._codes[rows])

    def products(self, queries: Embeddings, rows: slice | Rows) -> Scores:
        """Return the inner products of queries (Q, W) with n of the vectors, (Q, n)."""
        codes, lengths = self._codes[rows], self._lengths[rows] if self._form.dtype == "int8" else None
        products = np.empty((len(queries), len(codes)), dtype=np.float32)
        for part in self._parts(len(codes)):
            products[:, part] = inner_products(queries, self._form.numbers(codes[part]))
        if lengths is not None:
            products /= lengths
            return products
        # With bits of 0 and 1 in place of -1 and 1: q (2b - 1) = 2 qb - the sum of q.
        products *= 2
        products -= queries.sum(axis=1, keepdims=True)
        products /= math.sqrt(self._form.dimensions)
        return products

    @cached_property
    def _lengths(self) -> NDArray[np.float32]:
        """Length of each stored row (R,), 1 for zeros; computed at first use and kept."""
        lengths = np.empty(len(self), dtype=np.float32)
        for part in self._parts(len(self)):
            numbers = self._form.numbers(self._codes[part])
            lengths[part] = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
        lengths[lengths == 0] = 1
        return lengths

    def _parts(self, rows: int) -> list[slice]:
        step = max(1, _AT_ONCE // self._form.dimensions)
        return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def gathered(
    part: Callable[[int], Embeddings | PackedVectors], starts: NDArray[np.int64], rows: Rows, width: int
) -> Embeddings:
    """Copy the vectors of n rows of several parts, numbered through all of them -> (n, W).

    Args:
        part: the vectors of a part, by its number; asked only for parts that are needed.
        starts: number of the first row of each part, and of all rows.
        rows: numbers of rows (n,).
        width: length of a vector, W.
    """
    found = np.empty((len(rows), width), dtype=np.float32)
    places = np.searchsorted(starts, rows, side="right") - 1
    for place in np.unique(places).tolist():
        here = places == place
        found[here] = part(place)[rows[here] - starts[place]]
    return found
