"""What counts as vectors, whoever made them."""

import warnings

import numpy as np
import pytest
import torch

from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.validation.vectors import checked_embeddings, checked_vectors, checked_width, unit_rows

UNIT = np.eye(3, 4, dtype=np.float32)


def changed(value):
    vectors = UNIT.copy()
    vectors[1, 2] = value
    return vectors


async def awaited():
    return UNIT


WRONG = {
    "a row too few": (UNIT[:2], r"shape \(3, 4\) are needed, found \(2, 4\)"),
    "a row too many": (np.eye(4, dtype=np.float32), r"shape \(3, 4\) are needed, found \(4, 4\)"),
    "another width": (np.eye(3), r"shape \(3, 4\) are needed, found \(3, 3\)"),
    "one vector": (UNIT[0], r"found \(4,\)"),
    "three axes": (UNIT[None], r"found \(1, 3, 4\)"),
    "ragged": ([[1.0, 0, 0, 0], [1.0], [0, 1.0, 0, 0]], "list, which cannot be converted to an array"),
    "nothing": (None, "None of type object"),
    "an empty list": ([], r"found \(0,\)"),
    "text": ([["1", "0", "0", "0"]] * 3, "list of type <U1"),
    "objects": (UNIT.astype(object), "ndarray of type object"),
    "complex numbers": (UNIT.astype(complex), "of type complex128"),
    "truth values": (UNIT.astype(bool), "of type bool"),
    "a generator": ((row for row in UNIT), "generator of type object"),
    "a gradient": (torch.eye(3, 4, requires_grad=True), "Tensor, which cannot be converted to an array"),
    "half a tensor": (torch.eye(3, 4, dtype=torch.bfloat16), "Tensor, which cannot be converted to an array"),
    "NaN": (changed(np.nan), "vector 1 holds NaN or infinity"),
    "infinity": (changed(-np.inf), "vector 1 holds NaN or infinity"),
    "beyond float32": (changed(1).astype(np.float64) * np.array([[1], [1e39], [1]]), "vector 1 holds NaN or infinity"),
    "beyond Python": ([[10**400, 0, 0, 0]] * 3, "of type object"),
}


@pytest.mark.parametrize("check", [checked_embeddings, checked_vectors])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_vectors_is_refused(check, kind):
    answer, complaint = WRONG[kind]
    for error in (EmbeddingServiceError, ConfigurationError):
        if kind != "a generator":
            with pytest.raises(error, match=complaint):
                check(answer, 3, 4, error)
    with pytest.raises(EmbeddingServiceError, match=complaint):
        check(answer, 3, 4)


def test_a_coroutine_is_refused_and_closed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(EmbeddingServiceError, match="found a coroutine; give an embedder whose methods"):
            checked_embeddings(awaited(), 3, 4)


@pytest.mark.parametrize(
    ("factor", "length"), [(7, "7"), (1.02, "1.02"), (0.98, "0.98"), (1e30, "1e\\+30"), (1e-10, "1e-10")]
)
def test_vectors_of_another_length_are_refused_where_products_must_be_cosines(factor, length):
    vectors = UNIT * np.array([[1], [1], [factor]], dtype=np.float32)
    with pytest.raises(EmbeddingServiceError, match=f"vector 2 has length {length};"):
        checked_embeddings(vectors, 3, 4)
    np.testing.assert_array_equal(checked_vectors(vectors, 3, 4), vectors)


@pytest.mark.parametrize(
    "answer",
    [
        UNIT,
        UNIT.tolist(),
        UNIT.astype(np.float16),
        UNIT.astype(int),
        torch.eye(3, 4),
        np.asfortranarray(UNIT),
        UNIT * 0,
    ],
)
def test_whatever_holds_real_numbers_becomes_float32(answer):
    vectors = checked_embeddings(answer, 3, 4)
    assert (type(vectors), vectors.dtype) == (np.ndarray, np.float32)
    np.testing.assert_array_equal(vectors, np.asarray(answer))
    assert checked_vectors(answer, None, None).shape == (3, 4)


def test_half_precision_passes():
    rows = np.random.default_rng(0).normal(size=(50, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    half = torch.from_numpy(rows).to(torch.bfloat16).float()
    assert len(checked_embeddings(half, 50, 64)) == 50


def test_no_texts_have_no_vectors():
    for nothing in ([], np.empty((0, 4)), UNIT[:0]):
        assert checked_embeddings(nothing, 0, 4).shape == (0, 4)
    with pytest.raises(EmbeddingServiceError):
        checked_embeddings(UNIT, 0, 4)


def test_nothing_is_copied_without_need():
    assert np.shares_memory(checked_embeddings(UNIT, 3, 4), UNIT)


@pytest.mark.parametrize("width", [0, -1, 1.5, "4", None, True, np.float32(4)])
def test_what_is_no_width_is_refused(width):
    with pytest.raises(EmbeddingServiceError, match="width of an embedder must be a positive whole number"):
        checked_width(width)
    assert checked_width(np.int64(4)) == 4


@pytest.mark.parametrize("length", [1e-44, 1e-25, 1e-19, 1e-3, 1, 1e19, 3e38])
def test_rows_of_any_length_are_scaled_to_one(length):
    direction = np.random.default_rng(0).standard_normal((4, 8))
    rows = (direction / np.abs(direction).max(axis=1, keepdims=True) * length).astype(np.float32)
    rows[2] = 0
    rows[3] = [1, 0, 0, 0, 0, 0, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = unit_rows(rows)
    exact = rows[:2].astype(np.float64)
    np.testing.assert_allclose(scaled[:2], exact / np.linalg.norm(exact, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(scaled[2:], rows[2:])
    assert scaled.dtype == np.float32
