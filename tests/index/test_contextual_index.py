"""An index keeps documents, vectors and context together, through every change and on disk."""

import json
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone

import numpy as np
import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS, QUERIES

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    DuplicateIdError,
    FilterError,
    IndexFileError,
    InvalidDocumentError,
    InvalidTextError,
    PathInUseError,
    ReadOnlyError,
)
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.segment import Segment
from cde_retrievers.index.snapshot import Snapshot

DOCUMENTS = [Document(text, id=f"d{i}", metadata={"row": i, "even": i % 2 == 0}) for i, text in enumerate(CORPUS)]


@pytest.fixture
def embedder():
    return BagOfWords()


@pytest.fixture
def index(embedder, tmp_path):
    return ContextualIndex.build(DOCUMENTS, embedder, tmp_path / "index", batch_size=10)


def brute_force(index, query, k, keep=lambda document: True):
    """The slow obvious twin: every document embedded again and sorted."""
    documents = [document for document in index.documents() if keep(document)]
    vectors = index.embedder.encode_documents([document.text for document in documents], index.context)
    scores = vectors @ index.embedder.encode_queries([query], index.context)[0]
    return sorted(zip(scores.tolist(), [d.id for d in documents], strict=True), key=lambda hit: -hit[0])[:k]


def assert_finds(hits, expected):
    np.testing.assert_allclose([hit.score for hit in hits], [score for score, _ in expected], atol=1e-6)
    assert [hit.id for hit in hits if hit.score > hits[-1].score] == [
        identity for score, identity in expected if score > expected[-1][0] + 1e-6
    ] or sorted(hit.id for hit in hits) == sorted(identity for _, identity in expected)


def test_the_fake_and_the_real_encoder_are_embedders(embedder, make_encoder):
    assert isinstance(embedder, Embedder)
    assert isinstance(make_encoder(), Embedder)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("k", [1, 5, 1_000])
def test_search_finds_what_brute_force_finds(index, query, k):
    hits = index.search(query, k=k, mode="dense")
    assert len(hits) == min(k, len(CORPUS))
    assert all((hit.dense, hit.lexical) == (hit.score, None) for hit in hits)
    assert_finds(hits, brute_force(index, query, k))


def test_many_queries_at_once_find_the_same(index):
    found = index.search(QUERIES, k=4)
    for query, hits in zip(QUERIES, found, strict=True):
        np.testing.assert_allclose([h.score for h in hits], [h.score for h in index.search(query, k=4)], atol=1e-6)
    assert index.search([], k=3) == []


def test_hits_carry_the_document(index):
    hit = index.search(CORPUS[7], k=1, mode="dense")[0]
    assert (hit.id, hit.text, hit.metadata) == ("d7", CORPUS[7], {"row": 7, "even": False})
    assert hit.score == pytest.approx(1.0)


def test_a_real_encoder_gives_the_vectors_it_gives_without_an_index(make_encoder, tmp_path):
    encoder = make_encoder()
    index = ContextualIndex.build(CORPUS, encoder, tmp_path / "index")
    assert index.context == encoder.fit_context(CORPUS)
    expected = encoder.encode_documents(CORPUS, index.context)
    np.testing.assert_allclose(index.vectors([f"doc-{i}" for i in range(len(CORPUS))]), expected, atol=1e-6)


def test_what_was_built_is_there_when_opened(index, embedder):
    again = ContextualIndex.open(index.path, embedder)
    assert list(again.documents()) == DOCUMENTS
    assert again.context == index.context
    assert again.search(QUERIES[0], k=3) == index.search(QUERIES[0], k=3)


def test_the_model_comes_with_the_index(model_folder, tmp_path):
    from cde_retrievers import ContextualEncoder

    encoder = ContextualEncoder.from_pretrained(model_folder, device="cpu", dtype="float32")
    built = ContextualIndex.build(CORPUS, encoder, tmp_path / "index")
    hits = ContextualIndex.open(tmp_path / "index").search(QUERIES[0], k=3)
    assert [hit.id for hit in hits] == [hit.id for hit in built.search(QUERIES[0], k=3)]


def test_another_model_cannot_open_it(index):
    with pytest.raises(ContextMismatchError, match=r"fitted by model 'bag-of-words'"):
        ContextualIndex.open(index.path, BagOfWords(name="another"))


def test_added_documents_are_found_under_the_same_context(index, embedder):
    context = index.context
    assert index.add([Document("a purple whale", id="new"), "an orange snail"]) == ["new", "doc-0"]
    assert index.search("purple whale", k=1)[0].id == "new"
    assert index.context == context
    assert (len(index), index.generation) == (len(CORPUS) + 2, 2)
    assert ContextualIndex.open(index.path, embedder).search("purple whale", k=1)[0].id == "new"


def test_adding_shows_one_bar_for_the_whole_call(make_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 10)
    encoder = make_encoder()
    index = ContextualIndex.create(encoder, encoder.fit_context(CORPUS), tmp_path / "index")
    index.add(CORPUS, show_progress=True)
    shown = capsys.readouterr().err
    assert shown.count("Indexing:   0%") == 1  # its beginning is drawn once
    assert f"{len(CORPUS)}/{len(CORPUS)}" in shown
    assert "Embedding" not in shown
    index.add(["a purple whale"], show_progress=False)
    assert capsys.readouterr().err == ""


def test_the_table_of_ids_is_the_one_that_is_made_anew(embedder, tmp_path):
    random = np.random.default_rng(0)
    index = ContextualIndex.create(embedder, embedder.fit_context(CORPUS), tmp_path / "index")
    for step in range(60):
        some = [f"d{i}" for i in random.integers(0, 60, 3)]
        if step % 4 == 3:
            index.delete(some)
        else:
            index.upsert(Document(CORPUS[step % 50], id=identity) for identity in dict.fromkeys(some))
        fresh = ContextualIndex.open(index.path, embedder)._current.snapshot.rows_by_id
        assert list(index._current.snapshot.rows_by_id.items()) == list(fresh.items())
    index.optimize()
    index.refit(seed=1)
    assert index.ids() == ContextualIndex.open(index.path, embedder).ids()


def test_adding_one_document_looks_at_no_other_id(index, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.writer.READ_FOR_ONE", 0)  # as if the index were large
    index.add(["an orange snail"])
    old = {segment.entry.name for segment in index._current.snapshot.segments}
    read, ids = [], Segment.ids.fget
    monkeypatch.setattr(Segment, "ids", property(lambda self: (read.append(self.entry.name), ids(self))[1]))
    index.add(["a purple whale"])
    assert old.isdisjoint(read)
    assert len(read) > 0
    assert "doc-1" in index


def test_an_id_cannot_be_added_twice(index):
    with pytest.raises(DuplicateIdError, match=r"document 1 has the id 'd3'.*upsert"):
        index.add([Document("fine", id="fine"), Document("again", id="d3")])
    with pytest.raises(DuplicateIdError, match=r"'x'"):
        index.add([Document("one", id="x"), Document("two", id="x")])
    assert len(index) == len(CORPUS)
    assert index.generation == 1


def test_upsert_replaces_by_id(index, embedder):
    index.upsert([Document("a purple whale", id="d3", metadata={"row": 99}), Document("more", id="more")])
    assert len(index) == len(CORPUS) + 1
    assert index.search("purple whale", k=1)[0].metadata == {"row": 99}
    assert CORPUS[3] not in set(ContextualIndex.open(index.path, embedder).texts())


def test_a_document_without_an_id_never_takes_the_place_of_another(embedder, tmp_path):
    named = [Document(text, id=f"doc-{i}") for i, text in enumerate(CORPUS)]
    index = ContextualIndex.build(named, embedder, tmp_path / "index")
    new = f"doc-{len(CORPUS)}"
    assert index.upsert(["a purple whale"]) == [new]
    vector = embedder.encode_documents(["an orange snail"], index.context)
    assert index.add_embedded(["an orange snail"], vector, index.context.fingerprint) == [f"doc-{len(CORPUS) + 1}"]
    assert [document.text for document in index.documents()] == [*CORPUS, "a purple whale", "an orange snail"]


def test_a_mapping_is_no_collection_of_documents(index):
    with pytest.raises(InvalidDocumentError, match=r"found dict"):
        index.add({"text": "a purple whale"})


def test_deleted_documents_are_gone(index, embedder):
    assert index.delete(["d5", "unknown", "d5", "d6"]) == ["d5", "d6"]
    assert "d5" not in index
    assert index.get(["d5", "d7"]) == [None, DOCUMENTS[7]]
    assert all(hit.id not in ("d5", "d6") for hit in index.search(CORPUS[5], k=1_000))
    again = ContextualIndex.open(index.path, embedder)
    assert len(again) == len(CORPUS) - 2
    again.add([Document(CORPUS[5], id="d5")])
    assert again.search(CORPUS[5], k=1)[0].id == "d5"


def test_everything_can_be_deleted_and_added_again(index):
    index.delete(index.ids())
    assert len(index) == 0
    assert index.search("anything", k=3) == []
    index.add(DOCUMENTS)
    assert list(index.documents()) == DOCUMENTS


@pytest.mark.parametrize(("ids", "found"), [("d3", "'d3'"), (None, "None"), ([3], "3"), ([["d3"]], r"\['d3'\]")])
def test_what_are_no_ids_is_refused(index, ids, found):
    for call in (index.delete, index.get):
        with pytest.raises(ConfigurationError, match=rf"found {found}"):
            call(ids)
    assert len(index) == len(CORPUS)


@pytest.mark.parametrize("vectors", [[[1.0], [1.0, 2.0]], "abc", 3, [1.0] * 32, [[1.0]]])
def test_what_are_no_vectors_is_refused(index, vectors):
    for call in (index.search_embedded, lambda v, fingerprint: index.add_embedded(["a purple whale"], v, fingerprint)):
        with pytest.raises(ConfigurationError, match=r"32"):
            call(vectors, index.context.fingerprint)


def test_vectors_of_another_length_are_refused(index, embedder):
    vectors = embedder.encode_documents(["a purple whale", "an orange snail"], index.context)
    vectors[1] *= 3
    with pytest.raises(ConfigurationError, match=r"vector 1 has length 3;"):
        index.add_embedded(["a purple whale", "an orange snail"], vectors, index.context.fingerprint)
    index.add_embedded(["a purple whale"], vectors[:1], index.context.fingerprint)
    assert index.search("a purple whale", k=1)[0].dense == pytest.approx(1.0)


def test_what_is_no_model_or_context_is_refused(index, embedder, tmp_path):
    for call in (
        lambda: ContextualIndex.build(CORPUS, "minilm", tmp_path / "new"),
        lambda: ContextualIndex.create("minilm", index.context, tmp_path / "new"),
        lambda: ContextualIndex.open(index.path, "minilm"),
        lambda: index.refit(embedder="minilm"),
    ):
        with pytest.raises(ConfigurationError, match=r"a loaded model is needed, found str"):
            call()
    for call in (
        lambda: ContextualIndex.build(CORPUS, embedder, tmp_path / "new", context="my_context"),
        lambda: ContextualIndex.create(embedder, None, tmp_path / "new"),
        lambda: index.refit(context="my_context"),
    ):
        with pytest.raises(ConfigurationError, match=r"context must be a CorpusContext"):
            call()
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_index(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IndexFileError, match=r"is a file; an index is a directory"):
        ContextualIndex.open(tmp_path / "file")


def test_deleting_a_single_text_is_a_mistake(index):
    with pytest.raises(ConfigurationError, match=r"put a single one into a list"):
        index.delete("d5")


def test_optimize_changes_files_and_nothing_else(index, embedder):
    index.delete([f"d{i}" for i in range(10)])
    before = index.search(QUERIES[1], k=100)
    index.optimize()
    manifest = json.loads((index.path / "index.json").read_text())
    assert [(s["rows"], s["deleted"]) for s in manifest["segments"]] == [(len(CORPUS) - 10, 0)]
    assert len(list((index.path / "segments").iterdir())) == 1
    after = ContextualIndex.open(index.path, embedder).search(QUERIES[1], k=100)
    assert {(h.id, round(h.score, 5)) for h in after} == {(h.id, round(h.score, 5)) for h in before}


def test_many_small_additions_leave_few_segments(index, embedder):
    for i in range(70):
        index.add([Document(f"number {i}", id=f"n{i}")])
    manifest = json.loads((index.path / "index.json").read_text())
    assert len(manifest["segments"]) < 20
    again = ContextualIndex.open(index.path, embedder)
    assert sorted(again.ids()) == sorted([d.id for d in DOCUMENTS] + [f"n{i}" for i in range(70)])
    assert again.search("number 63", k=1)[0].dense == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("query_filter", "keep"),
    [
        ({"row": 7}, lambda m: m["row"] == 7),
        ({"row": {"$gte": 10, "$lt": 20}}, lambda m: 10 <= m["row"] < 20),
        ({"even": True, "row": {"$in": [1, 2, 3, 4]}}, lambda m: m["row"] in (2, 4)),
        ({"$or": [{"row": 1}, {"row": {"$gt": 50}}]}, lambda m: m["row"] == 1 or m["row"] > 50),
        ({"$not": {"even": True}}, lambda m: not m["even"]),
        ({"row": 10_000}, lambda m: False),
    ],
)
def test_filters_restrict_what_is_found(index, query_filter, keep):
    hits = index.search(QUERIES[0], k=100, filter=query_filter, mode="dense")
    assert {hit.id for hit in hits} == {d.id for d in DOCUMENTS if keep(d.metadata)}
    if hits:
        assert_finds(hits[:3], brute_force(index, QUERIES[0], 3, lambda d: keep(d.metadata)))


@pytest.mark.parametrize(
    ("query_filter", "found"),
    [
        ({"tags": {"$in": {"a", "b"}}}, ["text"]),
        ({"tags": {"$nin": {"a", "b"}}}, ["list", "number"]),
        ({"tags": {"$in": [("a", "b"), "c"]}}, ["list"]),
        ({"tags": ("a", "b")}, ["list"]),
        ({"tags": np.int64(3)}, ["number"]),
        ({"tags": {"$gte": np.float32(2.5)}}, ["number"]),
        ({"tags": {"$in": np.array([3, 4])}}, ["number"]),
    ],
)
def test_values_are_compared_as_they_are_stored(embedder, tmp_path, query_filter, found):
    index = ContextualIndex.create(embedder, embedder.fit_context(CORPUS), tmp_path / "index")
    kinds = {"text": "a", "list": ["a", "b"], "number": 3}
    index.add(Document(kind, id=kind, metadata={"tags": value}) for kind, value in kinds.items())
    assert index.ids(query_filter) == found
    assert sorted(hit.id for hit in index.search("text", filter=query_filter)) == sorted(found)


@pytest.mark.parametrize(
    ("query_filter", "message"),
    [
        ({"row": {"gte": 3}}, r"write '\$gte' in the filter on 'row'"),
        ({"row": timedelta(1)}, r"compares with a timedelta, which metadata cannot hold"),
        ({"row": {"$in": [np.datetime64("NaT")]}}, r"compares with a datetime64"),
        ({"row": np.timedelta64(1)}, r"compares with a timedelta64"),
        ({"row": np.arange(2)}, r"compares with a ndarray"),
    ],
)
def test_a_filter_that_nothing_could_pass_is_refused(index, query_filter, message):
    with pytest.raises(FilterError, match=message):
        index.search("red cat", filter=query_filter)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        ([np.int8(1), {"a": np.bool_(False)}], [1, {"a": False}]),
        (date(2024, 5, 1), "2024-05-01"),
        (time(12, 30), "12:30:00"),
        (datetime(2024, 5, 1, 12), "2024-05-01T12:00:00"),
        (datetime(2024, 5, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2024-04-30T23:00:00+00:00"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "0001-01-01T00:00:00+02:00"),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (np.datetime64("2024-05-01T12:00"), "2024-05-01T12:00:00"),
        (np.datetime64(1714564800000000000, "ns"), "2024-05-01T12:00:00"),
    ],
)
def test_scalars_of_numpy_and_times_are_kept_as_json_and_compared_so(index, given, kept):
    index.add([Document("a purple whale", id="new", metadata={"at": given})])
    (found,) = index.get(["new"])
    assert found.metadata == {"at": kept}
    assert type(found.metadata["at"]) is type(kept)
    assert index.ids({"at": given}) == index.ids({"at": {"$in": [given]}}) == ["new"]


def test_texts_of_times_are_ordered_as_times_are(index):
    hours = [datetime(2024, 5, 1, hour, tzinfo=timezone(timedelta(hours=hour))) for hour in range(9)]
    index.add([Document("a purple whale", id=str(hour), metadata={"at": at}) for hour, at in enumerate(hours)])
    for at in (*hours, datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC)):
        expected = {str(hour) for hour, one in enumerate(hours) if one >= at}
        assert set(index.ids({"at": {"$gte": at}})) == expected


@pytest.mark.parametrize("value", [timedelta(1), np.timedelta64(1), np.datetime64("NaT"), np.complex64(1), np.array(3)])
def test_what_has_no_form_in_json_is_refused(index, value):
    with pytest.raises(InvalidDocumentError, match="JSON cannot hold"):
        index.add([Document("a purple whale", metadata={"at": value})])


@pytest.mark.parametrize(
    "query_filter",
    [
        {"owner": {"$eq": "me", "$exists": True}},
        {"row": {"$gte": 0}, "owner": {"$in": ["me"], "$exists": np.bool_(True)}},
        {"$and": [{"owner": "me"}, {"owner": {"$exists": True}}]},
        {"$and": [{"owner": "me"}, {"$not": {"owner": {"$exists": False}}}]},
    ],
)
def test_a_field_that_may_be_missing_is_named_with_exists(index, query_filter):
    assert index.search("red cat", filter=query_filter) == []
    with pytest.raises(FilterError, match=r"no document has the metadata field 'owner'.*add '\$exists'"):
        index.search("red cat", filter={"owner": "me"})
    index.add([Document("a purple whale", id="new", metadata={"owner": "me", "row": 99})])
    assert [hit.id for hit in index.search("red cat", filter=query_filter)] == ["new"]
    assert [hit.id for hit in index.search("red cat", filter={"owner": "me"})] == ["new"]


def test_fields_of_deleted_documents_are_those_of_none(index):
    index.add([Document("a purple whale", id="new", metadata={"owner": "me", "row": 99})])
    assert "owner" in index.fields
    index.delete(["new"])
    assert index.fields == {"row", "even"}
    assert ContextualIndex.create(index.embedder, index.context, index.path.parent / "new").fields == frozenset()
    with pytest.raises(FilterError, match=r"no document has the metadata field 'owner'"):
        index.search("red cat", filter={"owner": "me"})


def test_fields_that_no_document_has_may_be_empty(index):
    def found(query_filter):
        searched = index.search("red cat", len(index), query_filter, missing="empty")
        embedded = index.embedder.encode_queries(["red cat"], index.context)
        (again,) = index.search_embedded(embedded, index.context.fingerprint, len(index), query_filter, missing="empty")
        assert searched_ids(searched) == searched_ids(again)
        assert searched_ids(searched) == set(index.ids(query_filter, missing="empty"))
        assert searched_ids(searched) == searched_ids(index.documents(query_filter, missing="empty"))
        return searched_ids(searched)

    def searched_ids(found):
        return {one.id for one in found}

    everything = set(index.ids())
    assert found({"owner": "me"}) == found({"$and": [{"owner": {"$gte": 3}}, {"row": 3}]}) == set()
    assert found({"owner": {"$ne": "me"}}) == found({"$not": {"owner": "me"}}) == everything
    assert found({"$or": [{"owner": "me"}, {"row": 3}]}) == {"d3"}
    index.delete(index.ids({"owner": "me"}, missing="empty"))
    assert set(index.ids()) == everything
    for call in (index.ids, index.documents, lambda *given, **named: index.search("red cat", 3, *given, **named)):
        with pytest.raises(FilterError, match=r"'owner'.*give missing=\"empty\""):
            call({"owner": "me"})
        with pytest.raises(ConfigurationError, match="missing must be"):
            call({"owner": "me"}, missing="none")
        with pytest.raises(FilterError, match="unknown"):
            call({"owner": {"$equals": "me"}}, missing="empty")


def test_an_empty_index_is_searched_by_any_field(embedder, tmp_path):
    index = ContextualIndex.create(embedder, embedder.fit_context(CORPUS), tmp_path / "index")
    assert index.search("red cat", filter={"owner": "me"}) == index.ids({"owner": "me"}) == []


def test_documents_and_ids_can_be_listed_by_a_filter(index):
    index.delete(["d3"])
    index.upsert([Document("a purple whale", id="d5", metadata={"row": 5, "even": False})])
    wanted = {"row": {"$lt": 9}, "even": False}
    assert index.ids(wanted) == ["d1", "d7", "d5"]
    assert [document.id for document in index.documents(wanted)] == index.ids(wanted)
    assert index.ids({"row": -1}) == []
    assert index.ids({}) == index.ids()
    with pytest.raises(FilterError, match=r"field 'colour'"):
        index.documents({"colour": "red"})


def test_documents_are_listed_by_a_filter_without_reading_ahead(index, monkeypatch):
    read, document = [], Snapshot.document
    monkeypatch.setattr(Snapshot, "document", lambda self, row: (read.append(row), document(self, row))[1])
    next(index.documents({"even": True}))
    assert read == [0]


@pytest.mark.parametrize("k", [0, -1, 2.5, True, None])
def test_k_must_be_a_positive_number(index, k):
    with pytest.raises(ConfigurationError, match=r"k must be a (positive )?whole number"):
        index.search("x", k=k)


def test_a_query_that_is_no_text_is_refused(index):
    for query in ([3], 3, None, b"red cat"):
        with pytest.raises(InvalidTextError):
            index.search(query)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            Document("x", id=3),
            InvalidDocumentError,
            r"the id of document 1 must be a non-empty string.*found 3; use str",
        ),
        (Document("x", id=""), InvalidDocumentError, r"must be a non-empty string"),
        (Document("x", metadata={"when": object()}), InvalidDocumentError, r"metadata\['when'\] is a object"),
        (Document("x", metadata={1: "a"}), InvalidDocumentError, r"key 1, which is not a string"),
        (Document("x", metadata={"a": float("nan")}), InvalidDocumentError, r"nan"),
        (Document("x", metadata={"a": "\ud800"}), InvalidDocumentError, r"not valid Unicode"),
        (Document(None), InvalidTextError, r"text 1 must be a string"),
        (7, InvalidDocumentError, r"document 1 is a int"),
    ],
)
def test_a_bad_document_is_refused_before_anything_is_embedded(index, embedder, tmp_path, bad, error, message):
    before = embedder.embedded
    with pytest.raises(error, match=message):
        index.add([Document("good", id="good"), bad])
    with pytest.raises(error, match=message):
        ContextualIndex.build(["good", bad], embedder, tmp_path / "other")
    assert embedder.embedded == before
    assert "good" not in index


def test_a_single_text_is_no_collection(index):
    with pytest.raises(InvalidDocumentError, match=r"put a single one into a list"):
        index.add("a text")


def test_read_only_refuses_every_change(index, embedder):
    reader = ContextualIndex.open(index.path, embedder, read_only=True)
    for change in (
        lambda: reader.add(["x"]),
        lambda: reader.upsert(["x"]),
        lambda: reader.delete(["d1"]),
        reader.optimize,
    ):
        with pytest.raises(ReadOnlyError, match=r"opened for reading"):
            change()


def test_a_reader_keeps_its_generation_until_it_refreshes(index, embedder):
    reader = ContextualIndex.open(index.path, embedder, read_only=True)
    before = reader.search(QUERIES[0], k=100)
    index.delete([d.id for d in DOCUMENTS[:30]])
    index.add(["a purple whale"])
    index.optimize()
    assert reader.search(QUERIES[0], k=100) == before
    assert list(reader.documents()) == DOCUMENTS
    assert reader.refresh()
    assert not reader.refresh()
    assert len(reader) == len(CORPUS) - 30 + 1


def test_two_open_indexes_can_write_in_turn(index, embedder):
    other = ContextualIndex.open(index.path, embedder)
    other.add([Document("by the other", id="other")])
    index.add([Document("by this one", id="this")])
    assert {"other", "this"} < set(index.ids())


def test_threads_may_search_and_add_at_once(index):
    errors = []

    def work(number):
        try:
            for i in range(5):
                index.add([Document(f"thread {number} {i}", id=f"t{number}-{i}")])
                assert len(index.search(QUERIES[0], k=10)) == 10
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(index) == len(CORPUS) + 20


def test_embedded_documents_come_in_only_under_the_same_context(index, embedder):
    vectors = embedder.encode_documents(["a purple whale"], index.context)
    other = embedder.fit_context(CORPUS, seed=1)
    with pytest.raises(ContextMismatchError, match=r"made under context"):
        index.add_embedded(["a purple whale"], vectors, other.fingerprint)
    with pytest.raises(ConfigurationError, match=r"shape \(1, 32\) are needed, found \(1, 31\)"):
        index.add_embedded(["a purple whale"], vectors[:, :31], index.context.fingerprint)
    index.add_embedded([Document("a purple whale", id="w")], vectors, index.context.fingerprint)
    assert index.search("purple whale", k=1)[0].id == "w"


def test_an_index_can_begin_empty(embedder, tmp_path):
    context = embedder.fit_context(CORPUS)
    index = ContextualIndex.create(embedder, context, tmp_path / "index")
    assert index.search("x") == []
    assert index.search("x", filter={"year": 3}) == []
    index.add(CORPUS)
    assert len(ContextualIndex.open(tmp_path / "index", embedder)) == len(CORPUS)


def test_a_path_in_use_is_refused(index, embedder, tmp_path):
    with pytest.raises(PathInUseError, match=r"already holds an index"):
        ContextualIndex.build(CORPUS, embedder, index.path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(PathInUseError, match=r"is a file"):
        ContextualIndex.build(CORPUS, embedder, tmp_path / "file")
    with pytest.raises(PathInUseError, match=r"holds other files"):
        ContextualIndex.build(CORPUS, embedder, tmp_path)


def test_a_generator_needs_a_context(embedder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"read only once"):
        ContextualIndex.build((text for text in CORPUS), embedder, tmp_path / "index")
    context = embedder.fit_context(CORPUS)
    index = ContextualIndex.build((text for text in CORPUS), embedder, tmp_path / "index", context=context)
    assert len(index) == len(CORPUS)


def test_where_there_is_no_index_that_is_said(tmp_path):
    with pytest.raises(IndexFileError, match=r"holds no index.*ContextualIndex\.build"):
        ContextualIndex.open(tmp_path)


@pytest.mark.parametrize("setting", [{"kind": "tree"}, {"batch_size": 0}, {"size": 1}, {"strategy": "best"}])
def test_impossible_settings_are_refused(embedder, tmp_path, setting):
    with pytest.raises(ConfigurationError):
        ContextualIndex.build(CORPUS, embedder, tmp_path / "index", **setting)


def test_an_insertion_embeds_what_is_new_and_nothing_else(embedder, tmp_path):
    texts = [f"document {number} speaks of subject {number * 7}" for number in range(50)]
    index = ContextualIndex.build([Document(t, f"d{i}") for i, t in enumerate(texts)], embedder, tmp_path / "index")
    before, embedder.embedded = index.vectors([f"d{i}" for i in range(50)]), 0
    index.upsert([Document(text, f"d{i}") for i, text in enumerate(["something new", *texts])])
    assert embedder.embedded == 1
    np.testing.assert_array_equal(index.vectors([f"d{i}" for i in range(1, 51)]), before)
    assert [document.text for document in index.get(["d0", "d50"])] == ["something new", texts[-1]]


def test_a_text_that_moves_into_a_later_batch_is_not_embedded_again(embedder, tmp_path, monkeypatch):
    monkeypatch.setattr("cde_retrievers.index.contextual_index.BATCH", 10)
    index = ContextualIndex.build(DOCUMENTS, embedder, tmp_path / "index")
    shifted = [Document(text, f"d{i}") for i, text in enumerate(["something new", *CORPUS])]
    embedder.embedded = 0
    index.upsert(shifted)
    index.upsert([*shifted[::-1], Document(shifted[-1].text, "a copy")])
    assert embedder.embedded == 1
    twin = ContextualIndex.create(embedder, index.context, tmp_path / "twin")
    twin.add(shifted)
    ids = [str(document.id) for document in shifted]
    np.testing.assert_allclose(index.vectors(ids), twin.vectors(ids), atol=1e-6)
    assert index.search(QUERIES[0], mode="lexical")[0].score == twin.search(QUERIES[0], mode="lexical")[0].score


def test_add_embeds_no_text_that_is_there_already(embedder, tmp_path):
    texts = [f"document {number} speaks of subject {number * 7}" for number in range(50)]
    index = ContextualIndex.build(texts, embedder, tmp_path / "index")
    embedder.embedded = 0
    index.add([Document(texts[3], "again"), "something new"])
    assert embedder.embedded == 1
    np.testing.assert_array_equal(index.vectors(["again"]), index.vectors(["doc-3"]))
    found = index.search(texts[3], k=2)
    assert {hit.id for hit in found} == {"doc-3", "again"}


def test_add_reads_a_large_index_for_a_few_documents_never(embedder, tmp_path, monkeypatch):
    index = ContextualIndex.build(CORPUS, embedder, tmp_path / "index")
    monkeypatch.setattr("cde_retrievers.index.writer.READ_FOR_ONE", len(CORPUS) // 2)
    embedder.embedded = 0
    index.add([Document(CORPUS[0], "one")])
    index.add(iter([Document(CORPUS[0], "two")]))
    assert embedder.embedded == 2
    index.add([Document(text, f"again {place}") for place, text in enumerate(CORPUS[:3])])
    assert embedder.embedded == 2


def test_a_vector_that_was_handed_in_is_not_taken_for_the_texts_own(embedder, index):
    odd = np.roll(index.vectors(["d0"]), 1, axis=1)
    index.add_embedded([Document("a text with another title", "x")], odd, index.context.fingerprint)
    index.optimize()  # into one file with vectors of the embedder
    embedder.embedded = 0
    index.upsert([Document("a text with another title", "x", {"changed": True})])
    assert embedder.embedded == 1
    assert np.abs(index.vectors(["x"]) - odd).max() > 1e-3


def test_another_context_has_other_vectors(embedder, index):
    index.refit(seed=1, size=4)
    embedder.embedded = 0
    index.upsert([Document(CORPUS[0], "copy")])
    assert embedder.embedded == 0
    np.testing.assert_array_equal(index.vectors(["copy"]), index.vectors(["d0"]))
    expected = embedder.encode_documents(CORPUS[:1], index.context)
    np.testing.assert_allclose(index.vectors(["copy"]), expected, atol=1e-6)
