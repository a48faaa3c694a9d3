"""Hybrid and lexical search find what fusing the scores of every document finds, through every change of an index."""

import dataclasses

import numpy as np
import pytest
from approximate import approximate_from
from bag_of_words import BagOfWords
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, IndexFileError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.retrieval.fusion import LEXICAL_POWER, LEXICAL_WEIGHT, best_above_zero
from cde_retrievers.sparse.bm25 import document_rows, query_rows

DOCUMENTS = [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)]
NAMES = [Document(f"see get_item_{i} for error E{1000 + i}", id=f"n{i}", metadata={"row": 100 + i}) for i in range(20)]


@pytest.fixture
def index(tmp_path):
    return ContextualIndex.build(DOCUMENTS + NAMES, BagOfWords(), tmp_path / "index", batch_size=10)


def scores_of(index, query, keep=lambda document: True):
    """The slow obvious twin: (id, cosine, BM25, fusion) of every document, embedded again."""
    documents = [document for document in index.documents() if keep(document)]
    texts, statistics = [document.text for document in documents], index.context.term_statistics()
    dense = (
        index.embedder.encode_documents(texts, index.context) @ index.embedder.encode_queries([query], index.context).T
    )
    asked = query_rows([query], statistics)
    lexical = (document_rows(texts, statistics) @ asked.T).toarray()[:, 0]
    share = lexical / (asked.sum() or 1)
    return [
        (document.id, float(s), float(bm25), float(s + LEXICAL_WEIGHT * part**LEXICAL_POWER))
        for document, s, bm25, part in zip(documents, dense[:, 0], lexical, share, strict=True)
    ]


def assert_right(index, query, k=7, keep=lambda document: True, **options):
    by_id = {identity: row for identity, *row in scores_of(index, query, keep)}
    for mode, column in (("hybrid", 2), ("lexical", 1)):
        hits = index.search(query, k, mode=mode, **options)
        best = sorted((row[column] for row in by_id.values() if mode == "hybrid" or row[1] > 0), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-5)
        for hit in hits:
            dense, lexical, _ = by_id[hit.id]
            assert hit.score == pytest.approx(by_id[hit.id][column], abs=1e-5)
            assert hit.lexical == pytest.approx(lexical, abs=1e-5)
            assert hit.dense == (None if mode == "lexical" else pytest.approx(dense, abs=1e-5))


@pytest.mark.parametrize("query", [*QUERIES, "get_item_7", "error E1003", "where is it"])
@pytest.mark.parametrize("k", [1, 7, 1_000])
def test_hits_are_those_of_fusing_every_document(index, query, k):
    assert_right(index, query, k)
    assert index.mode == "hybrid"
    assert index.search(query, k) == index.search(query, k, mode="hybrid")


def test_many_queries_at_once_find_the_same(index, monkeypatch):
    queries = [*QUERIES, "get_item_7"]
    for scores in (1 << 23, 100):
        monkeypatch.setattr("cde_retrievers.index.queries._SCORES", scores)
        for mode in ("hybrid", "lexical"):
            for query, hits in zip(queries, index.search(queries, 4, mode=mode), strict=True):
                alone = index.search(query, 4, mode=mode)
                np.testing.assert_allclose([h.score for h in hits], [h.score for h in alone], atol=1e-5)
        assert index.search([], mode="hybrid") == index.search([], mode="lexical") == []


def test_every_change_of_the_index_reaches_the_words(index):
    index.add([Document(f"a text about get_item_{i}", id=f"new{i}") for i in range(30)])
    index.delete(["n7", "d3", "new2"])
    index.upsert([Document("now about a walrus", id="n8"), Document("another walrus", id="n9")])
    for query in ("get_item_7", "walrus", QUERIES[0]):
        assert_right(index, query)
    index.optimize()
    for opened in (index, ContextualIndex.open(index.path, BagOfWords())):
        for query in ("get_item_7", "walrus", QUERIES[0]):
            assert_right(opened, query)
    index.refit(seed=3)
    assert_right(index, "get_item_7")


def test_a_filter_restricts_what_words_find(index):
    assert_right(index, "get_item_7", filter={"row": {"$lt": 104}}, keep=lambda d: d.metadata["row"] < 104)
    assert index.search("get_item_7", filter={"row": 3}, mode="lexical") == []


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_kinds_find_the_best_by_words(kind, tmp_path, monkeypatch):
    approximate_from(300, monkeypatch)
    documents = [Document(f"{text} number{i} of batch{j}") for j in range(8) for i, text in enumerate(CORPUS)]
    index = ContextualIndex.build(documents, BagOfWords(), tmp_path / "index", kind=kind)
    index.add(["number13 of a later batch"])
    assert list(index.path.glob("accelerator-*.faiss"))
    for query in ("number13", "number40 of batch5", "red cat"):
        exact = sorted((fused for *_, fused in scores_of(index, query)), reverse=True)[:5]
        np.testing.assert_allclose([hit.score for hit in index.search(query, 5)], exact, atol=1e-5)


def test_an_exact_identifier_is_found_that_vectors_miss(index):
    assert index.search("get_item_13", 1)[0].id == index.search("E1013", 1, mode="lexical")[0].id == "n13"


@pytest.mark.parametrize("query", ["the of and", "xyzzy", "🙂", "", " ", "?!"])
def test_a_query_without_a_known_word_is_searched_by_its_vector(index, query):
    dense = index.search(query, 5, mode="dense")
    assert [hit.id for hit in index.search(query, 5)] == [hit.id for hit in dense]
    assert index.search(query, 5, mode="lexical") == []


def test_a_query_of_100_000_words_is_searched(index):
    query = " ".join(f"word{i}" for i in range(100_000)) + " get_item_7"
    assert index.search(query, 1, mode="lexical")[0].id == "n7"


@pytest.fixture
def old(tmp_path):
    """An index as an earlier release built it, without term statistics."""
    embedder = BagOfWords()
    context = dataclasses.replace(embedder.fit_context(CORPUS), terms=None)
    return ContextualIndex.build(DOCUMENTS, embedder, tmp_path / "old", context=context)


def test_an_index_without_postings_is_searched_by_vectors_until_it_is_refitted(old):
    assert not list(old.path.glob("segments/*/postings.safetensors"))
    index = ContextualIndex.open(old.path, BagOfWords())
    assert index.mode == "dense"
    assert index.search(QUERIES[0]) == index.search(QUERIES[0], mode="dense")
    for mode in ("hybrid", "lexical"):
        with pytest.raises(ConfigurationError, match=r"holds vectors alone: .*call refit\(\), or use mode=\"dense\""):
            index.search(QUERIES[0], mode=mode)
    index.add(["one more"])
    index.optimize()
    assert index.mode == "dense"
    index.refit()
    assert index.mode == "hybrid"
    assert_right(index, QUERIES[0])


def test_an_unknown_mode_is_refused(index):
    with pytest.raises(ConfigurationError, match="mode"):
        index.search(QUERIES[0], mode="sparse")


def test_queries_embedded_by_the_caller_are_fused_with_their_texts(index):
    vectors = index.embedder.encode_queries(QUERIES, index.context)
    fingerprint = index.context.fingerprint
    assert_same(index.search_embedded(vectors, fingerprint, 5, texts=QUERIES), index.search(QUERIES, 5))
    assert_same(index.search_embedded(vectors, fingerprint, 5), index.search(QUERIES, 5, mode="dense"))
    halved = index.search_embedded(vectors / 2, fingerprint, 5, texts=QUERIES)
    assert_same(halved, index.search(QUERIES, 5))
    with pytest.raises(ConfigurationError):
        index.search_embedded(vectors, fingerprint, 5, texts=QUERIES[:2])


def assert_same(found, expected):
    for hits, others in zip(found, expected, strict=True):
        assert [hit.id for hit in hits] == [hit.id for hit in others]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-6)


def test_words_of_another_analyzer_are_refused(index, monkeypatch):
    monkeypatch.setattr("cde_retrievers.sparse.analyzer._VERSION", 99)
    with pytest.raises(ContextMismatchError, match="another analyzer"):
        index.search(QUERIES[0])
    assert len(index.search(QUERIES[0], mode="dense")) == 10
    with pytest.raises(ContextMismatchError, match="another analyzer"):
        index.add(["a text"])


def test_without_its_postings_the_rest_of_an_index_is_salvaged(index):
    path = sorted(index.path.glob("segments/*/postings.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(IndexFileError, match=r"postings\.safetensors.*salvage=True"):
        ContextualIndex.open(index.path, BagOfWords())
    salvaged = ContextualIndex.open(index.path, BagOfWords(), salvage=True)
    assert salvaged.mode == "dense"
    assert salvaged.search(QUERIES[0]) == index.search(QUERIES[0], mode="dense")
    with pytest.raises(ConfigurationError, match="holds vectors alone"):
        salvaged.search(QUERIES[0], mode="hybrid")


@pytest.mark.parametrize("block", [7, 1 << 16])
@pytest.mark.parametrize("zeros", [0, 0.5, 0.99, 1])
def test_the_best_above_zero_are_the_best_of_all(monkeypatch, block, zeros):
    monkeypatch.setattr("cde_retrievers.retrieval.fusion._BLOCK_ROWS", block)
    random = np.random.default_rng(0)
    scores = random.permutation(1_000).astype(np.float32) + 1
    scores[random.random(1_000) < zeros] = 0
    for count in (1, 10, 2_000):
        wanted = sorted((row for row in range(1_000) if scores[row] > 0), key=lambda row: -scores[row])[:count]
        assert sorted(best_above_zero(scores, count)) == sorted(wanted)
