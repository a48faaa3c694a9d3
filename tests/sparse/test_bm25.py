"""Products of sparse rows are BM25 scores: those of a twin that counts in dictionaries, and those of bm25s."""

import math
import pickle
from collections import Counter

import bm25s
import numpy as np
import pytest

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows

ANALYZER = Analyzer()
CORPUS = [
    "The cat sat on the mat, and the other cat watched it.",
    "Dogs chase cats. Dogs bark.",
    "os.path.join joins one or more path segments",
    "TypeError: unsupported operand type(s) in version 3.11.7",
    "A very short one",
    "",
    "the of and",
    "word " * 300 + "cat",
]
QUERIES = ["cat", "cats and dogs", "join path", "3.11.7", "the of", "", "\U0001f600", "unseen words", "cat cat dog"]


def slow_scores(query: str, corpus: list[str], sample: list[str], k1: float = 0.9, b: float = 0.75) -> list[float]:
    counted = [Counter(ANALYZER.terms(text)) for text in sample]
    mean = sum(counts.total() for counts in counted) / len(counted)

    def score(text: str) -> float:
        counts, total = Counter(ANALYZER.terms(text)), 0.0
        for term in ANALYZER.terms(query):
            frequency = sum(term in other for other in counted)
            idf = math.log(1 + (len(sample) - frequency + 0.5) / (frequency + 0.5))
            norm = k1 * (1 - b + b * counts.total() / mean)
            total += idf * counts[term] / (counts[term] + norm) if counts[term] else 0.0
        return total

    return [score(text) for text in corpus]


def scores(queries, corpus, statistics):
    return (query_rows(queries, statistics) @ document_rows(corpus, statistics).T).toarray()


@pytest.mark.parametrize("sample", [CORPUS, CORPUS[:3], ["unrelated text alone"]])
def test_scores_are_those_of_the_twin(sample):
    statistics = TermStatistics.of(sample, ANALYZER)
    expected = [slow_scores(query, CORPUS, sample) for query in QUERIES]
    np.testing.assert_allclose(scores(QUERIES, CORPUS, statistics), expected, atol=1e-5)


def test_scores_are_those_of_bm25s_where_statistics_are_of_the_whole_corpus():
    terms = [[str(term) for term in ANALYZER.terms(text)] for text in CORPUS]
    index = bm25s.BM25(k1=0.9, b=0.75, method="lucene")
    index.index(terms, show_progress=False)
    found = scores(QUERIES, CORPUS, TermStatistics.of(CORPUS, ANALYZER))
    for query, row in zip(QUERIES, found, strict=True):
        known = [str(term) for term in ANALYZER.terms(query) if str(term) in index.vocab_dict]
        expected = index.get_scores(known) if known else np.zeros(len(CORPUS))
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_rows_are_compressed_and_single_precision():
    statistics = TermStatistics.of(CORPUS, ANALYZER)
    for rows in (document_rows(CORPUS, statistics), query_rows(QUERIES, statistics)):
        assert rows.format == "csr"
        assert rows.dtype == np.float32
        assert rows.shape[1] == 2**24
    assert document_rows([], statistics).shape == (0, 2**24)
    assert document_rows([""], statistics).nnz == 0


def test_documents_saturate_and_long_ones_count_less():
    statistics = TermStatistics.of(CORPUS, ANALYZER)
    once, often, long = scores(["cat"], ["cat", "cat " * 50, "cat " + "filler " * 50], statistics)[0]
    assert long < once < often < 2 * once * 1.2


def test_no_documents_yield_statistics_that_know_nothing():
    statistics = TermStatistics.of([], ANALYZER)
    assert len(statistics) == 0
    assert scores(["cat"], ["cat"], statistics)[0, 0] > 0


def test_statistics_are_a_value():
    statistics = TermStatistics.of(CORPUS, ANALYZER)
    assert TermStatistics.of(list(CORPUS), Analyzer()).fingerprint == statistics.fingerprint
    assert TermStatistics.of(CORPUS[1:], ANALYZER).fingerprint != statistics.fingerprint
    again = pickle.loads(pickle.dumps(statistics))
    assert again.fingerprint == statistics.fingerprint
    for array in (again.terms, again.frequencies):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_terms_of_another_analyzer_are_refused(monkeypatch):
    statistics = TermStatistics.of(CORPUS, ANALYZER)
    monkeypatch.setattr("cde_retrievers.sparse.analyzer._stem", lambda word, _: word[:3])
    with pytest.raises(ContextMismatchError, match=r"counted by another analyzer.*PyStemmer.*fit it again"):
        query_rows(["cat"], statistics)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frequencies": [1]}, r"shape"),
        ({"terms": [2, 1]}, r"ascend"),
        ({"terms": [1, 1]}, r"ascend"),
        ({"terms": [-1, 1]}, r"ascend"),
        ({"terms": [1, 1 << 24]}, r"ascend"),
        ({"frequencies": [0, 1]}, r"in 1 to 3 documents"),
        ({"frequencies": [4, 1]}, r"in 1 to 3 documents"),
        ({"documents": -1, "terms": [], "frequencies": []}, r"mean length"),
        ({"mean_length": math.nan}, r"mean length"),
        ({"k1": -1.0}, r"k1"),
        ({"b": 1.5}, r"b in"),
    ],
)
def test_statistics_that_contradict_themselves_are_refused(changed, message):
    given = {"language": "english", "analyzer": ANALYZER.identity, "documents": 3, "mean_length": 2.0}
    given |= {"terms": [1, 2], "frequencies": [1, 3]}
    with pytest.raises(ConfigurationError, match=message):
        TermStatistics(**{**given, **changed})
