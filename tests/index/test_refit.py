"""A new context for an index: built beside the old, served in one instant, and paid for once."""

import threading

import numpy as np
import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError, ReadOnlyError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.retrieval.judgements import JudgedQueries

NEWER = [
    f"a {color} {fish} swims in the {place}"
    for color in ("blue", "grey")
    for fish in ("whale", "cod", "eel")
    for place in ("sea", "bay", "pond")
]


class InterruptedWorkError(Exception):
    pass


class Failing(BagOfWords):
    """Is interrupted after so many documents, once."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after: int | None = after

    def encode_documents(self, texts, context, show_progress=None):
        if self.after is not None and self.embedded >= self.after:
            self.after = None
            raise InterruptedWorkError
        return super().encode_documents(texts, context, show_progress)


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def index(embedder, tmp_path):
    index = ContextualIndex.build(
        [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)], embedder, tmp_path / "index"
    )
    index.add([Document(text, id=f"n{i}") for i, text in enumerate(NEWER)])
    return index


def test_a_refitted_index_is_the_index_built_anew(index, embedder, tmp_path):
    documents = list(index.documents())
    old = index.context
    report = index.refit()
    anew = ContextualIndex.build(documents, embedder, tmp_path / "anew")
    assert index.context == anew.context != old
    assert list(index.documents()) == documents
    np.testing.assert_allclose(index.vectors(index.ids()), anew.vectors(anew.ids()), atol=1e-6)
    assert (report.documents, report.embedded) == (len(documents), len(documents))
    assert (report.old_context, report.new_context) == (old.fingerprint, anew.context.fingerprint)
    assert ContextualIndex.open(index.path, embedder).context == anew.context


def test_every_document_is_embedded_once(index, embedder):
    before = embedder.embedded
    index.refit()
    assert embedder.embedded - before == len(index)


def test_refitting_an_unchanged_corpus_embeds_nothing(embedder, tmp_path):
    index = ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    before = embedder.embedded
    report = index.refit()
    assert (report.embedded, index.generation, embedder.embedded) == (0, 1, before)
    assert "The context is the same as before" in str(report)
    assert not (index.path / "next.json").exists()


def test_an_interrupted_refit_goes_on_where_it_was(index, tmp_path):
    old = index.context
    embedder = Failing(after=20)
    with pytest.raises(InterruptedWorkError):
        index.refit(embedder=embedder, batch_size=10)
    assert index.context == old
    again = ContextualIndex.open(index.path, embedder)
    assert again.context == old
    assert again.search(QUERIES[0], k=5) == index.search(QUERIES[0], k=5)
    report = again.refit(batch_size=10)
    assert report.embedded == len(again) - 20
    assert "embedded by this call" in str(report)
    assert again.context != old
    vectors = again.embedder.encode_documents(list(again.texts()), again.context)
    np.testing.assert_allclose(again.vectors(again.ids()), vectors, atol=1e-6)


def test_a_refit_that_was_interrupted_before_documents_were_changed_starts_over(index, caplog):
    embedder = Failing(after=20)
    with pytest.raises(InterruptedWorkError):
        index.refit(embedder=embedder, batch_size=10)
    index.upsert([Document("a purple snail", id="d3")])
    report = index.refit(embedder=embedder, batch_size=10)
    assert "starts over" in caplog.text
    assert report.embedded == len(index)
    assert index.search("purple snail", k=1)[0].id == "d3"


def test_a_refit_that_was_interrupted_before_documents_were_added_still_goes_on(index):
    embedder = Failing(after=20)
    with pytest.raises(InterruptedWorkError):
        index.refit(embedder=embedder, batch_size=10)
    index.add([Document("a purple snail", id="late")])
    assert index.refit(embedder=embedder, batch_size=10).embedded == len(index) - 20
    assert index.search("purple snail", k=1)[0].id == "late"


def test_other_settings_start_a_refit_over(index):
    with pytest.raises(InterruptedWorkError):
        index.refit(embedder=Failing(after=20), batch_size=10)
    assert index.refit(seed=3).embedded == len(index)


def test_the_old_generation_serves_until_the_new_one_is_whole(index):
    reader = ContextualIndex.open(index.path, index.embedder, read_only=True)
    before = reader.search(QUERIES[0], k=5)
    seen = []

    class Watched(BagOfWords):
        def encode_documents(self, texts, context, show_progress=None):
            if context != reader.context:
                other = ContextualIndex.open(index.path, BagOfWords(), read_only=True)
                seen.append((other.search(QUERIES[0], k=5), index.search(QUERIES[0], k=5)))
            return super().encode_documents(texts, context, show_progress)

    index.refit(embedder=Watched(), batch_size=10)
    assert seen[0] == (before, before)
    assert len(seen) == 8
    assert all(pair == seen[0] for pair in seen)
    assert reader.search(QUERIES[0], k=5) == before
    assert reader.refresh()
    assert reader.search(QUERIES[0], k=5) == index.search(QUERIES[0], k=5) != before


def test_searches_beside_a_refit_see_one_context_or_the_other(index):
    before = index.search(QUERIES[0], k=5)
    found, begun, done = [], threading.Event(), threading.Event()

    def search():
        while not done.is_set():
            found.append(index.search(QUERIES[0], k=5))
            begun.set()

    thread = threading.Thread(target=search)
    thread.start()
    begun.wait()
    index.refit(batch_size=5)
    done.set()
    thread.join()
    after = index.search(QUERIES[0], k=5)
    assert before in found
    assert all(hits in (before, after) for hits in found)


def test_a_refit_can_change_the_model(index, tmp_path):
    wider = BagOfWords(width=48, name="wider")
    index.refit(embedder=wider)
    assert index.vectors(["d0"]).shape == (1, 48)
    assert index.search(CORPUS[9], k=1)[0].id == "d9"
    with pytest.raises(ContextMismatchError):
        ContextualIndex.open(index.path, BagOfWords())
    assert ContextualIndex.open(index.path, wider).search(CORPUS[9], k=1)[0].id == "d9"


def test_a_given_context_is_used(index, embedder):
    context = embedder.fit_context(NEWER)
    assert index.refit(context=context).new_context == context.fingerprint
    assert index.context == context


def test_judged_queries_are_searched_before_and_after(index):
    judged = JudgedQueries(
        {"q1": CORPUS[4], "q2": "no such words"}, {"q1": {"d4": 1, "missing": 1}, "q2": {"d9": 1, "d8": 0}}
    )
    report = index.refit(judged=judged)
    ideal = 1 + 1 / np.log2(3)
    assert report.ndcg_before == pytest.approx(0.5 / ideal, abs=0.25)
    assert f"nDCG@10 {report.ndcg_before:.3f} before, {report.ndcg_after:.3f} after" in str(report)
    assert report.to_dict()["ndcg_after"] == report.ndcg_after


def test_a_query_that_is_a_document_of_the_index_does_not_find_itself(index):
    judged = JudgedQueries({"d4": CORPUS[4]}, {"d4": {"d5": 1}})
    report = index.refit(judged=judged)
    place = [hit.id for hit in index.search(CORPUS[4], k=11) if hit.id != "d4"].index("d5")
    assert place < 10, "or else this shows nothing"
    assert report.ndcg_after == pytest.approx(1 / np.log2(place + 2))


def test_ndcg_counts_queries_without_hits():
    judged = JudgedQueries({"a": "x", "b": "y"}, {"a": {"d1": 1}, "b": {"d2": 1}})
    assert judged.ndcg_at_10({"a": {"d1": 0.9}}) == pytest.approx(0.5)
    assert judged.ndcg_at_10({"a": {"d0": 1.0, "d1": 0.9}, "b": {"d2": 0.1}}) == pytest.approx((1 + 1 / np.log2(3)) / 2)


@pytest.mark.parametrize(("queries", "relevant"), [({}, {}), ({"a": "x"}, {"b": {"d": 1}})])
def test_queries_without_judgements_are_refused(queries, relevant):
    with pytest.raises(ConfigurationError, match=r"judge"):
        JudgedQueries(queries, relevant)


def test_a_reader_cannot_refit(index, embedder):
    with pytest.raises(ReadOnlyError):
        ContextualIndex.open(index.path, embedder, read_only=True).refit()
