"""How an index stores vectors: all their numbers or the first ones, in 32, in 8 or in 1 bit each.

Axes: n rows, E width of an embedding, W numbers of a stored vector, B numbers of a stored row.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.validation.vectors import Embeddings, unit_rows

Dtype = Literal["float32", "int8", "binary"]
Codes = NDArray[Any]
_LARGEST = 127  # of int8; -128 is not used, so that both signs are alike
_STORED_AS = {"float32": ("F32", "<f4"), "int8": ("I8", "|i1"), "binary": ("U8", "|u1")}


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """What becomes of an embedding in the files of an index.

    In "int8" each vector is scaled so that its largest number is 127 or -127, and rounded; in "binary" only signs are
    kept, eight to a byte, where zero counts as negative. Both are read as unit vectors, so no scale is stored.

    Attributes:
        width: length of an embedding, E.
        dimensions: how many numbers of it are kept, W, from the first on.
        dtype: how each of them is stored.
    """

    width: int
    dimensions: int
    dtype: Dtype = "float32"

    @property
    def tensor_dtype(self) -> str:
        """The type of the stored numbers as safetensors calls it."""
        return _STORED_AS[self.dtype][0]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type of the stored numbers."""
        return np.dtype(_STORED_AS[self.dtype][1])

    @property
    def columns(self) -> int:
        """Numbers of a stored row, B."""
        return -(-self.dimensions // 8) if self.dtype == "binary" else self.dimensions

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of a stored row."""
        return self.columns * self.numpy_dtype.itemsize

    def cut(self, embeddings: Embeddings) -> Embeddings:
        """Return the first W numbers of embeddings (n, E) as unit rows (n, W); all of them as they are."""
        return embeddings if self.dimensions == self.width else unit_rows(embeddings[:, : self.dimensions])

    def encoded(self, vectors: Embeddings) -> Codes:
        """Return vectors (n, W) as they are stored (n, B)."""
        if self.dtype == "float32":
            return np.ascontiguousarray(vectors, dtype=self.numpy_dtype)
        if self.dtype == "binary":
            return np.packbits(vectors > 0, axis=1)
        largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        codes: Codes = np.rint(vectors / largest * _LARGEST).astype(self.numpy_dtype)
        return codes

    def decoded(self, codes: Codes) -> Embeddings:
        """Return stored rows (n, B) as unit vectors (n, W); in "int8" zeros stay zeros."""
        if self.dtype == "float32":
            return codes
        return unit_rows(2 * self.numbers(codes) - 1 if self.dtype == "binary" else self.numbers(codes))

    def numbers(self, codes: Codes) -> Embeddings:
        """Return stored rows (n, B) as float32 numbers (n, W) that are not scaled: bits are 0 and 1."""
        bits = np.unpackbits(codes, axis=1, count=self.dimensions) if self.dtype == "binary" else codes
        return bits.astype(np.float32)
