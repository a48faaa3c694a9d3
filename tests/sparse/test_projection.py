"""Lexical vectors of a fixed width, against a twin that adds up one term and one slot at a time."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy.sparse import diags

from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows
from cde_retrievers.sparse.projection import SLOTS, WEIGHT, lexical_vectors, with_lexical_part

ANALYZER = Analyzer()
CORPUS = [
    "The cat sat on the mat, and the other cat watched it.",
    "Dogs chase cats. Dogs bark.",
    "os.path.join joins one or more path segments",
    "TypeError: unsupported operand type(s) in version 3.11.7",
    "word " * 300 + "cat",
    "unseen",
]
WITHOUT_TERMS = ["", "the of and", "\U0001f600", " ... "]
STATISTICS = TermStatistics.of(CORPUS[:5], ANALYZER)
BITS = 2**64


def slow_hash(number: int) -> int:
    """SplitMix64 in Python's own numbers."""
    mixed = number * 0x9E3779B97F4A7C15 % BITS
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % BITS
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % BITS
    return mixed ^ mixed >> 31


def slow_vector(text: str, width: int, k1: float = 0.9, b: float = 0.0) -> list[float]:
    counts = Counter(ANALYZER.terms(text))
    vector = [0.0] * width
    for term, count in counts.items():
        frequency = sum(term in ANALYZER.terms(other) for other in CORPUS[:5])
        idf = math.log(1 + (5 - frequency + 0.5) / (frequency + 0.5))
        mean = sum(len(ANALYZER.terms(other)) for other in CORPUS[:5]) / 5
        saturated = count / (count + k1 * (1 - b + b * counts.total() / mean))
        for slot in range(SLOTS):
            drawn = slow_hash(term * SLOTS + slot + 1)
            vector[(drawn >> 1) % width] += (-1 if drawn & 1 else 1) * saturated * math.sqrt(idf)
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else vector


@pytest.mark.parametrize("width", [1, 5, 384])
def test_vectors_are_those_of_the_twin(width):
    texts = [*CORPUS, *WITHOUT_TERMS]
    found = lexical_vectors(texts, STATISTICS, width)
    assert (found.shape, found.dtype) == ((len(texts), width), np.float32)
    np.testing.assert_allclose(found, [slow_vector(text, width) for text in texts], atol=1e-5)


def test_the_hash_is_the_published_one():
    # The first outputs of SplitMix64 from seed 0 are the hashes of 1, 2 and 3.
    assert [slow_hash(n) for n in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_a_text_without_terms_is_zeros_and_others_are_unit_vectors():
    assert not lexical_vectors(WITHOUT_TERMS, STATISTICS, 64).any()
    np.testing.assert_allclose(np.linalg.norm(lexical_vectors(CORPUS, STATISTICS, 64), axis=1), 1, atol=1e-6)
    assert lexical_vectors([], STATISTICS, 64).shape == (0, 64)


def test_a_vector_does_not_depend_on_the_texts_beside_it():
    together = lexical_vectors(CORPUS, STATISTICS, 64)
    np.testing.assert_array_equal(together, np.vstack([lexical_vectors([text], STATISTICS, 64) for text in CORPUS]))


def test_more_texts_than_are_projected_at_a_time(monkeypatch):
    expected = lexical_vectors(CORPUS, STATISTICS, 64)
    monkeypatch.setattr("cde_retrievers.sparse.projection._ROWS", 4)
    np.testing.assert_array_equal(lexical_vectors(CORPUS, STATISTICS, 64), expected)


def test_a_wide_projection_keeps_the_cosines_of_sparse_rows():
    rows = document_rows(CORPUS, STATISTICS, 0.0)
    rows.data *= np.sqrt(STATISTICS.idf(rows.indices))
    unit = diags(1 / np.sqrt(rows.multiply(rows).sum(axis=1).A1)) @ rows
    vectors = lexical_vectors(CORPUS, STATISTICS, 1 << 16)
    np.testing.assert_allclose(vectors @ vectors.T, (unit @ unit.T).toarray(), atol=0.02)


def test_the_cosine_of_joined_vectors_is_the_mixed_one():
    random = np.random.default_rng(0)
    dense = random.normal(size=(len(CORPUS), 16)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    lexical = lexical_vectors(CORPUS, STATISTICS, 64)
    joined = with_lexical_part(dense, lexical)
    assert (joined.shape, joined.dtype) == ((len(CORPUS), 80), np.float32)
    mixed = (dense @ dense.T + WEIGHT * lexical @ lexical.T) / (1 + WEIGHT)
    np.testing.assert_allclose(joined @ joined.T, mixed, atol=1e-6)
    without = with_lexical_part(dense, np.zeros_like(lexical))
    np.testing.assert_allclose(without, np.hstack([dense, np.zeros_like(lexical)]), atol=1e-6)
