"""Retrieval sets: read, given, and refused."""

import logging

import numpy as np
import pytest
from runs import write_beir

from cde_retrievers.errors import ConfigurationError, CorpusFileError, EvaluationDataError, InvalidTextError
from cde_retrievers.evaluation.dataset import RetrievalDataset

QUERIES = {"q1": "a red cat", "q2": "a tree"}
CORPUS = {"d1": "red cat", "d2": "green tree", "d3": "old dog"}
RELEVANT = {"q1": {"d1"}, "q2": {"d2": 2, "d3": 1}}


def test_ones_own_data_is_taken_in_the_form_of_sentence_transformers():
    found = RetrievalDataset.of(QUERIES, CORPUS, RELEVANT, name="animals")
    assert (found.name, found.ids, found.texts) == ("animals", ("d1", "d2", "d3"), tuple(CORPUS.values()))
    assert found.judged.queries == QUERIES
    assert found.judged.relevant == {"q1": {"d1": 1}, "q2": {"d2": 2, "d3": 1}}


@pytest.mark.parametrize("answers", [["d1"], ("d1",), {"d1"}, {"d1": 1}])
def test_answers_may_be_any_collection_of_ids(answers):
    found = RetrievalDataset.of({"q1": "a red cat"}, CORPUS, {"q1": answers})
    assert found.judged.relevant == {"q1": {"d1": 1}}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"queries": {}}, ConfigurationError, r"there are no judged queries"),
        ({"relevant_docs": {"q1": {"d1"}}}, ConfigurationError, r"query 'q2' has no answers.*leave the query out"),
        ({"relevant_docs": {**RELEVANT, "q2": "d2"}}, ConfigurationError, r"query 'q2' has 'd2' as answers"),
        ({"relevant_docs": {**RELEVANT, "q2": {"d9"}}}, EvaluationDataError, r"answered by 'd9', which is not in the"),
        ({"corpus": {"d1": "same", "d2": "same", "d3": "same"}}, EvaluationDataError, r"fewer than two different"),
        ({"corpus": {**CORPUS, "d3": 7}}, InvalidTextError, r"int"),
        ({"queries": {**QUERIES, "q2": None}}, InvalidTextError, r"None"),
        ({"queries": ["a red cat"]}, ConfigurationError, r"queries is \['a red cat'\]; give a mapping"),
        ({"queries": {**QUERIES, "q2": " "}}, InvalidTextError, r"query 'q2' has ' ' as its text; give a text"),
        ({"queries": {**QUERIES, "q2": ["a", "tree"]}}, InvalidTextError, r"query 'q2' has \['a', 'tree'\] as its"),
        ({"queries": {1.5: "a red cat"}}, ConfigurationError, r"queries has 1.5 as an id; an id is a whole number"),
        ({"queries": {10**5_000: "a red cat"}}, ConfigurationError, r"queries has an object of type int as an id"),
        ({"queries": {True: "a red cat"}}, ConfigurationError, r"queries has True as an id"),
        ({"queries": {"": "a red cat"}}, ConfigurationError, r"queries has '' as an id"),
        ({"corpus": {**CORPUS, None: "a"}}, ConfigurationError, r"corpus has None as an id"),
        ({"corpus": {**CORPUS, 1: "a", "1": "b"}}, ConfigurationError, r"both the number 1 and the text '1' as ids"),
        ({"relevant_docs": {**RELEVANT, "q2": {2.5}}}, ConfigurationError, r"what answers query 'q2' has 2.5 as an id"),
        ({"relevant_docs": {**RELEVANT, "q2": {"d2": 0.5}}}, ConfigurationError, r"'d2' with 0.5; a grade is a whole"),
        ({"relevant_docs": {**RELEVANT, "q2": {"d2": 10**7}}}, ConfigurationError, r"from -1,000,000 to 1,000,000"),
        ({"relevant_docs": {**RELEVANT, "q2": {"d2": None}}}, ConfigurationError, r"'d2' with None"),
        ({"corpus": 5}, ConfigurationError, r"corpus is 5"),
        ({"relevant_docs": [("q1", "d1")]}, ConfigurationError, r"relevant_docs is \[\('q1'"),
        ({"relevant_docs": {**RELEVANT, "q2": 7}}, ConfigurationError, r"query 'q2' has 7 as answers"),
        ({"relevant_docs": {**RELEVANT, "q2": {"d2": "high"}}}, ConfigurationError, r"grades 'd2' with 'high'"),
    ],
)
def test_what_cannot_be_searched_is_refused(changed, error, message):
    given = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": RELEVANT, **changed}
    with pytest.raises(error, match=message):
        RetrievalDataset.of(**given)


def test_ids_that_come_twice_are_refused():
    judged = RetrievalDataset.of(QUERIES, CORPUS, RELEVANT).judged
    with pytest.raises(EvaluationDataError, match=r"3 documents have 2 different ids"):
        RetrievalDataset("animals", ("d1", "d2", "d2"), ("a", "b", "c"), judged)


def test_documents_without_text_are_left_out_and_that_is_said(tmp_path, caplog):
    documents = {"d1": "red cat", "d2": " ", "d3": "old dog"}
    folder = write_beir(tmp_path / "animals", documents, [("red cat", "d1"), ("nothing", "d2")])
    with caplog.at_level(logging.WARNING):
        found = RetrievalDataset.read(folder)
    assert (found.name, found.ids) == ("animals", ("d1", "d3"))
    assert list(found.judged.queries.values()) == ["red cat"]
    assert found.note == "1 document without text left out"
    assert found.note in caplog.text


@pytest.mark.parametrize(
    ("query", "grade", "message"),
    [
        ('{"_id": "q0", "text": null}', "1", r"queries\.jsonl:1: the query's text is None"),
        ('{"_id": "q0", "text": ["a"]}', "1", r"queries\.jsonl:1: the query's text is \['a'\]"),
        (
            '{"_id": "q0", "text": "  "}',
            "1",
            r"queries\.jsonl:1: the query's text is '  '; give a text in column 'text'",
        ),
        ('{"_id": "q0", "query": "a"}', "1", r"queries\.jsonl:1 has no column 'text', only \['_id', 'query'\]; rename"),
        ('{"query_id": "q0", "text": "a"}', "1", r"queries\.jsonl:1 has no column '_id', only .*; rename the column"),
        ('{"_id": null, "text": "a"}', "1", r"queries\.jsonl:1 has None in column '_id'; an id is a text or a whole"),
        ('{"_id": 1.5, "text": "a"}', "1", r"queries\.jsonl:1 has 1.5 in column '_id'"),
        (
            '{"_id": "q0", "text": "a"}\n\n{"_id": "q0", "text": "b"}',
            "1",
            r"jsonl:3 has the id 'q0', which.*jsonl:1 alr",
        ),
        ('{"_id": "q9", "text": "a"}', "1", r"none of the queries judged in qrels/test.tsv, such as 'q0', is in its"),
        ('{"_id": "q0", "text": "a"}', "0.5", r"test\.tsv:2 must have .*a score is a whole number"),
        ('{"_id": "q0", "text": "a"}', "nan", r"test\.tsv:2 must have"),
        ('{"_id": "q0", "text": "a"}', "9" * 30, r"test\.tsv:2 must have"),
        ('{"_id": "q0", "text": "a"}', "9" * 5_000, r"test\.tsv:2 must have"),
    ],
)
def test_queries_without_text_and_grades_out_of_all_measure_are_refused(tmp_path, query, grade, message):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("red cat", "d1")])
    (folder / "queries.jsonl").write_text(query)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq0\td1\t{grade}\n")
    with pytest.raises(CorpusFileError, match=message):
        RetrievalDataset.read(folder)


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (
            "query-id\tcorpus-id\tscore\nq0\td1\t1\nq0\td1\t2\n",
            r"test\.tsv:3 judges document 'd1' for query 'q0' with 2",
        ),
        ("query\tdocument\tgrade\nq0\td1\t1\n", r"test\.tsv:1 must name the columns query-id, corpus-id, score"),
        ("query-id,corpus-id,score\nq0,d1,1\n", r"test\.tsv:1 must name the columns .* with tabs between them"),
        ("q0 0 d1 1\nq0 0 d3 high\n", r"test\.tsv:2 must have query-id, corpus-id, score"),
        ("", r"test\.tsv:1 must name the columns"),
    ],
)
def test_judgements_that_cannot_be_read_are_refused(tmp_path, qrels, message):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("red cat", "d1")])
    (folder / "qrels" / "test.tsv").write_text(qrels)
    with pytest.raises(CorpusFileError, match=message):
        RetrievalDataset.read(folder)


@pytest.mark.parametrize(
    "qrels",
    [
        "query-id\tcorpus-id\tscore\nq0\td1\t2\nq0\td3\t0\n",
        "query-id\tcorpus-id\tscore\nq0\td1\t2.0\nq0\td3\t0.0\nq0\td3\t0\n",
        "corpus-id\tscore\tquery-id\nd1\t2\tq0\nd3\t0\tq0\n",
        "q0 0 d1 2\nq0 0 d3 0\n",
        "q0\tQ0\td1\t2\r\n\r\nq0\tQ0\td3\t0\r\n",
        "q0\td1\t2\nq0\td3\t0",
    ],
)
def test_judgements_are_read_in_beirs_and_in_trecs_form(tmp_path, qrels):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("red cat", "d1")])
    (folder / "qrels" / "test.tsv").write_text(qrels)
    assert RetrievalDataset.read(folder).judged.relevant == {"q0": {"d1": 2, "d3": 0}}


@pytest.mark.parametrize("column", ["_id", "id"])
def test_ids_of_queries_may_be_numbers_and_their_column_be_called_id(tmp_path, column):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("red cat", "d1")])
    (folder / "queries.jsonl").write_text(f'{{"{column}": 7, "text": "red cat"}}')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\td1\t1\n")
    assert RetrievalDataset.read(folder).judged.queries == {"7": "red cat"}


def test_documents_of_a_beir_folder_are_known_by_their_underscored_id(tmp_path):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("red cat", "d1")])
    rows = ['{"id": 100, "_id": "d1", "text": "red cat"}', '{"id": 101, "_id": "d3", "text": "old dog"}']
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    assert RetrievalDataset.read(folder).ids == ("d1", "d3")


def test_what_is_judged_but_cannot_be_searched_is_said(tmp_path, caplog):
    folder = write_beir(tmp_path / "animals", {"d1": "red cat", "d3": "old dog"}, [("cat", "d1"), ("dog", "d3")])
    (folder / "queries.jsonl").write_text('{"_id": "q0", "text": "cat"}')
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\tgone\t1\n")
    with caplog.at_level(logging.WARNING):
        assert RetrievalDataset.read(folder).judged.relevant == {"q0": {"d1": 1}}
    assert "1 documents judged for 'test', such as 'gone', are not among those to search" in caplog.text
    assert "1 judged queries, such as 'q1', have no text in queries.jsonl" in caplog.text


def test_ids_may_be_numbers_as_sentence_transformers_takes_them():
    found = RetrievalDataset.of({1: "a", 2: "b"}, {10: "x", np.int64(11): "y"}, {1: {10}, 2: {np.int64(11): 1.0}})
    assert (found.ids, found.judged.queries) == (("10", "11"), {"1": "a", "2": "b"})
    assert found.judged.relevant == {"1": {"10": 1}, "2": {"11": 1}}
