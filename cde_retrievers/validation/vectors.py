"""Checks of embeddings, and scaling to unit length. Axes: n rows, W width."""

from collections.abc import Coroutine

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import CDEError, EmbeddingServiceError, shown
from cde_retrievers.validation.numbers import is_whole

Vectors = NDArray[np.float32]
Embeddings = Vectors
LARGEST_WIDTH = 1 << 20
"""Numbers of a vector: more would be a mistake, and fill the memory."""
SAME_LENGTH = 1e-2
"""Tolerance of a unit vector's length, wide enough for half precision."""
_ROUNDING = 1e-6  # of the length of a unit vector in float32
_LEAST_LENGTH = 1e-18  # of a vector whose squares float32 holds
_REAL_NUMBERS = "fiu"  # numpy's kinds: floating point, signed, unsigned


def checked_embeddings(
    answer: object, rows: int | None, width: int | None, error: type[CDEError] = EmbeddingServiceError
) -> Vectors:
    """Like `checked_vectors`, for vectors that must have length 1, so that inner products are cosines.

    A vector of zeros passes: it is similar to nothing.
    """
    vectors = as_matrix(answer, rows, width, error)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # Written so that NaN fails: every comparison with it is false.
    right = (np.abs(lengths - 1) <= SAME_LENGTH) | (lengths == 0)
    if not right.all():
        row = int(np.argmin(right))
        _refuse_non_finite(vectors, error)
        raise error(
            f"vectors of length 1 are needed, so that products are cosines, but vector {row} has length "
            f"{np.linalg.norm(vectors[row].astype(np.float64)):.3g}; divide each by its length"
        )
    return vectors


def checked_vectors(
    answer: object, rows: int | None, width: int | None, error: type[CDEError] = EmbeddingServiceError
) -> Vectors:
    """Return an answer as (n, W) float32 vectors, sharing its memory if it is such an array already.

    Args:
        answer: the value that an embedder or a caller gave.
        rows: required number of vectors, n; None for any.
        width: required width, W; None for any.
        error: the class of the error to raise.

    Raises:
        EmbeddingServiceError, or `error`: it is not a matrix of that shape, or has values that are not finite numbers.
    """
    vectors = as_matrix(answer, rows, width, error)
    _refuse_non_finite(vectors, error)
    return vectors


def as_matrix(
    answer: object, rows: int | None, width: int | None, error: type[CDEError] = EmbeddingServiceError
) -> Vectors:
    """Like `checked_vectors`, but NaN and infinity pass."""
    needed = f"vectors of shape ({'n' if rows is None else rows}, {'W' if width is None else width}) are needed"
    if isinstance(answer, Coroutine):
        answer.close()
        raise error(f"{needed}, found a coroutine; give an embedder whose methods are not async")
    try:
        found = np.asarray(answer)
    except (TypeError, ValueError, RuntimeError) as reason:  # ragged rows; tensors on a GPU or with a gradient
        raise error(
            f"{needed}, found {_described(answer)}, which cannot be converted to an array: {reason}"
        ) from reason
    if rows == 0 and found.size == 0 and width is not None:
        return np.empty((0, width), dtype=np.float32)  # an empty list has no width
    if found.dtype.kind not in _REAL_NUMBERS:
        raise error(f"{needed}, found {_described(answer)} of type {found.dtype}; give numbers")
    if found.ndim != 2 or rows not in (None, len(found)) or width not in (None, found.shape[1]):
        raise error(f"{needed}, found {found.shape}; give one vector for each text, in the order of the texts")
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite and is refused
        return found.astype(np.float32, copy=False)


def checked_width(width: object) -> int:
    """Return the width of an embedder, or raise if it cannot be one.

    Raises:
        EmbeddingServiceError: it is not a positive whole number, or too large.
    """
    if not is_whole(width) or not 1 <= width <= LARGEST_WIDTH:
        raise EmbeddingServiceError(
            f"the width of an embedder must be a positive whole number, the length of its vectors, of at most "
            f"{LARGEST_WIDTH:,}; found {shown(width)}"
        )
    return int(width)


def _refuse_non_finite(vectors: Vectors, error: type[CDEError]) -> None:
    finite = np.isfinite(vectors)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise error(
            f"vectors of finite numbers are needed, but vector {row} holds NaN or infinity; embed the texts again"
        )


def _described(answer: object) -> str:
    return "None" if answer is None else type(answer).__name__


def unit_rows(vectors: Vectors) -> Vectors:
    """Vectors (n, W) scaled to length 1; zeros stay."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    extreme = ~((lengths > _LEAST_LENGTH) & (lengths < np.inf))[:, 0]
    lengths[extreme] = 1
    scaled: Vectors = vectors / lengths
    if extreme.any():  # in float64, which holds every square of a float32
        rows = vectors[extreme].astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        scaled[extreme] = rows / np.where(lengths > 0, lengths, 1)
    return scaled


def as_unit_rows(vectors: Vectors) -> Vectors:
    """Vectors (n, W) scaled to length 1; as they are where all have it, so that nothing is rounded twice."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    return vectors if np.abs(lengths - 1).max(initial=0) <= _ROUNDING else unit_rows(vectors)
