"""All measures judge the ranking that is shown: ids and their order change nothing, and no query finds itself."""

from dataclasses import dataclass

import numpy as np
import pytest

from cde_retrievers.evaluation import BM25, Contextual, PlainEmbedding, ReciprocalRankFusion, RetrievalDataset, evaluate
from cde_retrievers.evaluation.evaluator import ndcg_at_10
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.metrics import MEASURES
from cde_retrievers.retrieval.judgements import JudgedQueries

TEA = "Tea is brewed with hot water from dried leaves."
LEVELS = 3  # different scores: nearly all documents share theirs with others


@dataclass(frozen=True)
class Tied:
    """Finds documents in an order of its own, with few different scores."""

    name: str = "tied"

    def search(self, data, depth, show_progress=None):
        rng = np.random.default_rng(0)
        shape = len(data.judged.queries), len(data.texts)
        scores = -np.sort(-rng.integers(LEVELS, size=shape), axis=1).astype(np.float32)
        return Hits(np.argsort(rng.random(shape), axis=1)[:, :depth], scores[:, :depth])


class Letters:
    """An embedding that cannot tell texts of the same first letter apart."""

    def encode(self, texts):
        return np.array([[float(text[0] == letter) + 0.1 for letter in "abcde"] for text in texts])


def dataset(rename=lambda name: name, answers=1, queries=20, documents=40):
    """Query i is answered by document i, and by as many after it as are wanted."""
    return RetrievalDataset.of(
        {rename(f"q{place}"): f"{'abcde'[place % 5]} question" for place in range(queries)},
        {rename(f"d{place}"): f"{'abcde'[place % 5]} text question {place // 7}" for place in range(documents)},
        {
            rename(f"q{place}"): {rename(f"d{place + more}"): more + 1 for more in range(answers)}
            for place in range(queries)
        },
    )


def by_hand(grades, shown):
    """The slow twin: nDCG@10 of ten ids in the order in which they are shown."""
    gain = sum(grades.get(name, 0) / np.log2(place + 2) for place, name in enumerate(shown))
    return gain / sum(g / np.log2(place + 2) for place, g in enumerate(sorted(grades.values(), reverse=True)[:10]))


SEARCHERS = [Tied(), BM25(), PlainEmbedding(Letters()), ReciprocalRankFusion(BM25(), Tied())]
RENAMED = [
    lambda name: name[::-1],
    lambda name: f"{99 - int(name[1:]):02}{name[0]}",
    lambda name: name + "\0" + "é z\n",
]


@pytest.mark.parametrize("rename", RENAMED)
@pytest.mark.parametrize("searcher", SEARCHERS, ids=lambda searcher: searcher.name)
def test_other_ids_change_nothing(searcher, rename):
    found, renamed = evaluate(searcher, dataset(answers=3)), evaluate(searcher, dataset(rename, answers=3))
    for measure in MEASURES:
        np.testing.assert_array_equal(found.values[measure], renamed.values[measure])
    assert renamed.best == tuple(tuple(map(rename, ids)) for ids in found.best)


@pytest.mark.parametrize("searcher", SEARCHERS, ids=lambda searcher: searcher.name)
def test_ndcg_is_that_of_the_order_shown(searcher):
    data = dataset(answers=3)
    found = evaluate(searcher, data)
    expected = [by_hand(data.judged.relevant[query], ids) for query, ids in zip(found.queries, found.best, strict=True)]
    np.testing.assert_allclose(found.values["ndcg@10"], expected, atol=1e-9)


@pytest.mark.parametrize("searcher", SEARCHERS, ids=lambda searcher: searcher.name)
def test_average_precision_of_a_single_answer_is_its_reciprocal_rank(searcher):
    data = dataset()
    found = evaluate(searcher, data)
    for place, query in enumerate(found.queries):
        (answer,) = data.judged.relevant[query]
        shown = found.best[place]
        rank = shown.index(answer) + 1 if answer in shown else None
        assert found.values["mrr@10"][place] == pytest.approx(1 / rank if rank else 0)
        assert rank is None or found.values["map"][place] == pytest.approx(1 / rank)


@pytest.mark.parametrize(("answer", "copy"), [("a", "b"), ("b", "a")])
def test_a_copy_of_the_answer_makes_no_two_measures_disagree(answer, copy):
    corpus = {answer: TEA, copy: TEA, "c": "Espresso is pressed.", "d": "Trains run on rails."}
    found = evaluate(BM25(), RetrievalDataset.of({"q": "how is tea brewed?"}, corpus, {"q": {answer}}))
    assert found.best[0] == (answer, copy)
    assert [found.values[measure][0] for measure in MEASURES] == [1] * len(MEASURES)


def test_scores_given_in_any_order_are_ranked_by_score_and_then_as_given():
    judged = JudgedQueries({"q": "x"}, {"q": {"answer": 1}})
    first = judged.per_query({"q": {"low": 0.1, "other": 0.9, "answer": 0.9}}, MEASURES)
    assert {name: values[0] for name, values in first.items()} == pytest.approx(
        {"ndcg@10": 1 / np.log2(3), "recall@100": 1, "mrr@10": 0.5, "map": 0.5}
    )


# A claim, and what argues for it: the query is a document of the corpus, under its own id.
CLAIM = "Should school uniforms be compulsory for every pupil?"
ARGUMENTS = {
    "q1": CLAIM,
    "a1": "School uniforms make every pupil equal, so they should be compulsory.",
    "x": "Trains run on rails.",
    "y": "Tea is brewed hot.",
}
ARGUED = RetrievalDataset.of({"q1": CLAIM, "q2": "hot tea"}, ARGUMENTS, {"q1": {"a1"}, "q2": {"y"}}, "arguments")


class Words:
    """An embedding by shared words."""

    def encode(self, texts):
        known = sorted({word for text in ARGUMENTS.values() for word in text.lower().split()})
        return np.array([[0.01 + (word in text.lower().split()) for word in known] for text in texts])


@pytest.mark.parametrize(
    "searcher",
    [BM25(), PlainEmbedding(Words()), ReciprocalRankFusion(BM25(), PlainEmbedding(Words()))],
    ids=lambda searcher: searcher.name,
)
def test_a_query_that_is_a_document_does_not_find_itself(searcher):
    found = evaluate(searcher, ARGUED)
    assert found.best[0][0] == "a1"
    assert all("q1" not in ids for ids in found.best[:1])
    assert [found.values[measure].tolist() for measure in MEASURES] == [[1, 1]] * len(MEASURES)
    assert ndcg_at_10(searcher, ARGUED) == 1
    assert searcher.search(ARGUED, 1).run(ARGUED)["q1"].keys() == {"a1"}


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_as_many_others_are_found_where_one_is_left_out(make_encoder, mode):
    texts = {f"d{place}": f"the {color} cat number {place}" for place, color in enumerate(["red", "green", "old"] * 5)}
    data = RetrievalDataset.of({"d3": texts["d3"], "q": "green cat"}, texts, {"d3": {"d0"}, "q": {"d1"}})
    hits = Contextual(make_encoder("whitening"), mode=mode).search(data, 5)
    assert hits.rows.shape == (2, 5)
    assert np.isfinite(hits.scores).all()
    assert 3 not in hits.rows[0]
    everything = Contextual(make_encoder("whitening"), mode=mode).search(data, 99).run(data)
    assert (len(everything["d3"]), len(everything["q"])) == (14, 15)


def test_only_its_own_query_does_not_find_a_document():
    data = RetrievalDataset.of({"q1": CLAIM, "q2": CLAIM}, ARGUMENTS, {"q1": {"a1"}, "q2": {"a1"}})
    found = evaluate(BM25(), data)
    assert [ids[0] for ids in found.best] == ["a1", "q1"]


def test_searchers_that_know_nothing_of_it_are_judged_without_it_too():
    class Everything:
        name = "everything"

        def search(self, data, depth, show_progress=None):
            rows = np.tile(np.arange(min(depth, len(data.texts))), (len(data.judged.queries), 1))
            return Hits(rows, -rows.astype(np.float32))

    assert evaluate(Everything(), ARGUED).best[0] == ("a1", "x", "y")
    assert evaluate(ReciprocalRankFusion(Everything(), Everything()), ARGUED).best[0] == ("a1", "x", "y")


def test_an_answer_may_have_the_id_of_its_query():
    """Where queries and documents are both counted from 1, equal ids say nothing."""
    data = RetrievalDataset.of({1: "hot tea", 2: "trains"}, {1: "Tea is hot.", 2: "Trains run."}, {1: {1}, 2: {2}})
    assert evaluate(BM25(), data).mean().mean == 1


@pytest.mark.parametrize(
    ("query", "text", "is_left_out"),
    [
        ("Tea is\n brewed hot", "Tea: TEA IS BREWED HOT.", True),
        ("is tea brewed hot?", "Tea is brewed hot.", False),
    ],
)
def test_a_number_is_its_own_query_only_with_its_text(query, text, is_left_out):
    data = RetrievalDataset.of({46: query}, {46: text, 47: "Tea is hot."}, {46: {47}})
    assert (data.own_rows.tolist() == [0]) == is_left_out
    assert ("46" in evaluate(BM25(), data).best[0]) != is_left_out
