"""Approximate kinds propose candidates; the scores are exact, and exact search is the twin they are held against."""

import numpy as np
import pytest
from approximate import approximate_from
from bag_of_words import BagOfWords

from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.accelerator import _LEAST_EFFORT, _RECALL, Accelerator
from cde_retrievers.index.calibration import _Sample
from cde_retrievers.index.lexical import LexicalScores
from cde_retrievers.index.search import _rescored
from cde_retrievers.index.store import IndexStore
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.retrieval.fusion import lexical_bonus
from cde_retrievers.sparse.bm25 import query_rows

ROWS, WIDTH, K = 1_600, 32, 10
COST = Accelerator._cost


@pytest.fixture(autouse=True)
def _small_indexes_count_as_large(monkeypatch):
    approximate_from(500, monkeypatch)


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, WIDTH))
    rows = centres[random.integers(0, 40, ROWS)] + 0.7 * random.standard_normal((ROWS, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=["ivf", "hnsw"])
def kind(request):
    return request.param


@pytest.fixture
def index(kind, vectors, tmp_path):
    embedder = BagOfWords(WIDTH)
    context = embedder.fit_context(["one text", "another text"])
    index = ContextualIndex.create(embedder, context, tmp_path / "index", kind=kind)
    add(index, vectors[:1_000], 0)
    return index


def add(index, vectors, first):
    documents = [
        Document(f"text {row}", id=str(row), metadata={"row": row}) for row in range(first, first + len(vectors))
    ]
    index.add_embedded(documents, vectors, index.context.fingerprint)


def found(index, queries, **options):
    hits = index.search_embedded(queries, index.context.fingerprint, K, **options)
    return [{int(hit.id): hit.score for hit in row} for row in hits]


def truth(vectors, queries, rows):
    """The slow obvious twin."""
    scores = queries @ vectors[rows].T
    return [{int(rows[i]): float(row[i]) for i in np.argsort(-row)[:K]} for row in scores]


def assert_nearly(index, vectors, rows, recall=0.95, **options):
    queries = vectors[::50]
    pairs = list(zip(found(index, queries, **options), truth(vectors, queries, np.asarray(rows)), strict=True))
    assert np.mean([len(hits.keys() & exact.keys()) / K for hits, exact in pairs]) >= recall
    for query, (hits, _) in zip(queries, pairs, strict=True):
        assert len(hits) == K
        np.testing.assert_allclose(list(hits.values()), vectors[list(hits)] @ query, atol=1e-6)


def accelerator_files(index):
    return list(index.path.glob("accelerator-*.faiss"))


def test_nearly_all_of_the_exact_hits_are_found_with_exact_scores(index, vectors):
    assert len(accelerator_files(index)) == 1
    assert_nearly(index, vectors, range(1_000))


def test_it_is_the_same_when_opened_again(index, vectors):
    again = ContextualIndex.open(index.path, index.embedder)
    assert found(again, vectors[:5]) == found(index, vectors[:5])


def test_rows_added_later_are_searched_exactly(index, vectors):
    add(index, vectors[1_000:1_200], 1_000)
    assert len(accelerator_files(index)) == 1
    assert_nearly(index, vectors, range(1_200))
    assert all(max(hits, key=hits.get) == 1_000 + i for i, hits in enumerate(found(index, vectors[1_000:1_200])))


def test_it_is_made_anew_when_much_was_added(index, vectors):
    before = accelerator_files(index)
    for first in range(1_000, 1_600, 100):
        add(index, vectors[first : first + 100], first)
    assert accelerator_files(index) != before
    assert len(accelerator_files(index)) == 1
    assert_nearly(index, vectors, range(1_600), recall=0.9)


def test_deleted_rows_are_not_found(index, vectors):
    gone = {str(row) for row in range(1_000) if row % 3 == 0}
    index.delete(gone)
    assert_nearly(index, vectors, [row for row in range(1_000) if row % 3], recall=0.9)
    assert all(hits.keys().isdisjoint(map(int, gone)) for hits in found(index, vectors[:30]))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_filter_that_leaves_much_is_answered_from_candidates(index, vectors, monkeypatch, share):
    stop = int(1_000 * share)
    monkeypatch.setattr("cde_retrievers.index.search._exact", _only_what_is_not_covered)
    assert_nearly(index, vectors, range(stop), recall=0.9, filter={"row": {"$lt": stop}})


def _only_what_is_not_covered(snapshot, queries, k, allowed, lexical, first):
    assert first == len(allowed)
    return np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)


@pytest.mark.parametrize(
    ("kind", "k", "left", "approximate"),
    [
        *(("hnsw", 10, 1_000, True), ("hnsw", 100, 1_000, True), ("hnsw", 150, 1_000, False)),
        *(("hnsw", 10, 500, True), ("hnsw", 50, 500, False), ("hnsw", 10, 99, False)),
        *(("ivf", 10, 1_000, True), ("ivf", 150, 1_000, True), ("ivf", 260, 1_000, False)),
        *(("ivf", 10, 500, True), ("ivf", 150, 500, False), ("ivf", 10, 99, False)),
    ],
    indirect=["kind"],
)
def test_what_costs_less_exactly_is_found_exactly(index, vectors, monkeypatch, k, left, approximate):
    monkeypatch.setattr(Accelerator, "_cost", COST)
    for name in ("_COST_OF_NODE", "_COST_OF_CANDIDATE"):
        monkeypatch.setattr(f"cde_retrievers.index.accelerator.{name}", 1)
    assert index._current.snapshot.accelerator._effort < 120
    queries, used = vectors[:3], []

    def candidates(_, queries, k, allowed):
        used.append(k)
        return np.tile(np.flatnonzero(allowed), (len(queries), 1))

    monkeypatch.setattr(Accelerator, "candidates", candidates)
    hits = index.search_embedded(queries, index.context.fingerprint, k, {"row": {"$lt": left}})
    assert bool(used) == approximate
    for row, query in zip(hits, queries, strict=True):
        assert [int(hit.id) for hit in row] == np.argsort(-(vectors[:left] @ query))[:k].tolist()


def test_a_small_index_is_searched_exactly(index, vectors, monkeypatch):
    monkeypatch.setattr(Accelerator, "_cost", COST)
    monkeypatch.setattr(Accelerator, "candidates", None)
    hits = found(index, vectors[:20])
    assert [row.keys() for row in hits] == [row.keys() for row in truth(vectors, vectors[:20], np.arange(1_000))]


def test_no_queries_find_nothing(index):
    assert index.search([], mode="dense") == []
    assert index.search_embedded(np.empty((0, WIDTH), np.float32), index.context.fingerprint) == []


@pytest.mark.parametrize(("rows", "covered"), [(499, False), (500, True)])
def test_from_how_many_documents_on_there_is_an_accelerator(index, vectors, tmp_path, rows, covered):
    other = ContextualIndex.create(index.embedder, index.context, tmp_path / "other", kind=index.kind)
    add(other, vectors[:rows], 0)
    assert len(accelerator_files(other)) == covered
    other.optimize()
    assert len(accelerator_files(other)) == covered


def test_optimize_covers_everything_again(index, vectors):
    add(index, vectors[1_000:1_200], 1_000)
    index.delete(["0", "1"])
    index.optimize()
    assert len(accelerator_files(index)) == 1
    assert_nearly(index, vectors, range(2, 1_200))


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"\0" * 50), lambda path: path.unlink()])
def test_without_its_accelerator_an_index_is_searched_exactly_until_that_is_made_anew(index, vectors, damage, caplog):
    (path,) = accelerator_files(index)
    damage(path)
    exact = [hits.keys() for hits in truth(vectors, vectors[:9], np.arange(1_000))]
    for salvage in (True, False):
        opened = ContextualIndex.open(index.path, index.embedder, salvage=salvage)
        assert len(opened.damaged) == 1
        assert path.name in opened.damaged[0]
        assert [hits.keys() for hits in found(opened, vectors[:9])] == exact
    assert path.name in caplog.text
    assert "until optimize() rebuilds it" in caplog.text
    opened.optimize()
    assert opened.damaged == ContextualIndex.open(index.path, index.embedder).damaged == ()
    assert path not in accelerator_files(index)
    assert len(accelerator_files(index)) == 1
    assert_nearly(index, vectors, range(1_000))


def test_an_index_may_be_opened_while_its_accelerator_is_replaced(index, monkeypatch):
    snapshot = IndexStore.snapshot

    def optimized_meanwhile(store, manifest, damaged=()):
        monkeypatch.setattr(IndexStore, "snapshot", snapshot)
        index.optimize()
        return snapshot(store, manifest, damaged)

    monkeypatch.setattr(IndexStore, "snapshot", optimized_meanwhile)
    opened = ContextualIndex.open(index.path, index.embedder)
    assert (opened.generation, opened.damaged) == (index.generation, ())


def test_the_accelerator_is_read_once_for_all_generations_that_have_it(index, vectors, monkeypatch):
    reads = []
    monkeypatch.setattr("cde_retrievers.index.accelerator.faiss.read_index", lambda path: reads.append(path))
    add(index, vectors[1_000:1_100], 1_000)
    index.delete(["3"])
    assert reads == []


def test_many_hits_are_found_in_larger_blocks(monkeypatch, vectors):
    monkeypatch.setattr("cde_retrievers.retrieval.exact_search._BLOCK_ROWS", 33)
    scores, rows = exact_search(vectors[:2], [(0, vectors, np.ones(ROWS, dtype=np.bool_))], 500)
    for query, found_scores, found_rows in zip(vectors, scores, rows, strict=False):
        exact = vectors @ query
        assert found_rows.tolist() == np.argsort(-exact)[:500].tolist()
        np.testing.assert_allclose(found_scores, np.sort(exact)[::-1][:500], atol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.6, 1])
@pytest.mark.parametrize("queries", [1, 7])
@pytest.mark.parametrize("copied", [3, 2_048])
def test_exact_search_in_blocks_is_exact_search(monkeypatch, vectors, queries, share, copied):
    monkeypatch.setattr("cde_retrievers.retrieval.exact_search._COPIED_ROWS", copied)
    allowed = np.random.default_rng(1).random(ROWS) < share
    parts = [(0, vectors[:700], allowed[:700]), (700, vectors[700:], allowed[700:])]
    expected = truth(vectors, vectors[:queries], np.flatnonzero(allowed))
    for block, most in ((1 << 23, 1 << 16), (100, 1 << 16), (1 << 23, 33)):
        monkeypatch.setattr("cde_retrievers.retrieval.exact_search._BLOCK_SCORES", block)
        monkeypatch.setattr("cde_retrievers.retrieval.exact_search._BLOCK_ROWS", most)
        scores, rows = exact_search(vectors[:queries], parts, K)
        for found_scores, found_rows, exact in zip(scores, rows, expected, strict=True):
            assert found_rows.tolist() == list(exact)
            np.testing.assert_allclose(found_scores, list(exact.values()), atol=1e-6)


class Proposed:
    """An accelerator of the first rows that proposes the candidates it was given."""

    def __init__(self, rows, near):
        self.rows, self._near = rows, near

    def candidates(self, queries, k, allowed):
        return self._near


def one_by_one(snapshot, near, queries, k, lexical):
    """The slow obvious twin: the candidates of a query, and the best by its words, scored and sorted in Python."""
    for number, query in enumerate(queries):
        rows = {int(row) for row in near[number] if row >= 0}
        bonus = np.zeros(len(snapshot.live))
        if lexical is not None:
            words = lexical.scores[number, :1_020]
            rows |= {int(row) for row in np.argsort(-words)[: near.shape[1]] if words[row] > 0}
            bonus = lexical_bonus(lexical.scores, lexical.mass)[number]
        scored = [(-float(snapshot.vectors([row])[0] @ query + bonus[row]), row) for row in rows]
        yield [(-score, row) for score, row in sorted(scored)[:k]]


@pytest.mark.parametrize("copied", [1, 5_000, 1 << 23])
@pytest.mark.parametrize("words", [False, True])
def test_candidates_of_all_queries_are_scored_at_once(index, vectors, monkeypatch, copied, words):
    monkeypatch.setattr("cde_retrievers.index.search._COPIED_NUMBERS", copied)
    random = np.random.default_rng(5)
    add(index, np.eye(WIDTH, dtype=np.float32)[[3] * 20], 1_000)  # equal scores, in a second segment
    snapshot, queries = index._current.snapshot, vectors[:23]
    near = np.stack([random.permutation(1_020)[:50] for _ in queries])
    near[:, 30:40] = np.arange(1_000, 1_010)[::-1]
    near = np.stack([list(dict.fromkeys(row))[:45] for row in near.tolist()])
    near[::2, 20:] = -1
    lexical = None
    if words:
        texts = [f"{row} {row + 500}" for row in range(len(queries))]
        sparse = query_rows(texts, index.context.term_statistics())
        lexical = LexicalScores.of(snapshot, sparse, snapshot.live)
        assert 0 < np.count_nonzero(lexical.scores, axis=1).min() < 45
    expected = list(one_by_one(snapshot, near, queries, 20, lexical))
    scores, rows = _rescored(snapshot, Proposed(1_020, near), queries, 20, snapshot.live, lexical)
    assert rows.tolist() == [[row for _, row in hits] for hits in expected]
    np.testing.assert_allclose(scores, [[score for score, _ in hits] for hits in expected], atol=1e-6)


def test_a_search_goes_as_far_as_the_recall_needs(index, vectors):
    accelerator = index._current.snapshot.accelerator
    allowed, queries = np.ones(1_000, dtype=bool), _Sample([vectors[:1_000]]).queries

    def recall(effort):
        accelerator._effort = effort
        near = accelerator.candidates(queries, K, allowed)
        exact = truth(vectors, queries, np.arange(1_000))
        return np.mean([len(set(rows.tolist()) & hits.keys()) / K for rows, hits in zip(near, exact, strict=True)])

    measured, wanted = accelerator._effort, _RECALL[index.kind]
    assert recall(measured) >= wanted
    assert measured == _LEAST_EFFORT[index.kind] or recall(measured // 2) < wanted
    assert ContextualIndex.open(index.path, index.embedder)._current.snapshot.accelerator._effort == measured


def test_the_file_of_an_earlier_release_is_searched_as_it_was(index, vectors, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.accelerator._calibrate", lambda *_: None)
    index.delete(["0"])
    index.optimize()
    accelerator = ContextualIndex.open(index.path, index.embedder)._current.snapshot.accelerator
    assert accelerator._effort == (256 if index.kind == "hnsw" else accelerator._index.nlist // 4)
    assert_nearly(index, vectors, range(1, 1_000), recall=0.9)
