"""Retrieval sets: read, given, and refused."""

import logging

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
        ({"queries": {1: "a red cat"}}, ConfigurationError, r"queries is \{1: 'a red cat'\}"),
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
    assert found.note == "1 documents without text are left out"
    assert found.note in caplog.text


@pytest.mark.parametrize(
    ("query", "grade", "message"),
    [
        ('{"_id": "q0", "text": null}', "1", r"queries\.jsonl:1: the query's text is None"),
        ('{"_id": "q0", "text": ["a"]}', "1", r"queries\.jsonl:1: the query's text is \['a'\]"),
        ('{"_id": "q0"}', "1", r"queries\.jsonl:1: the query's text is None"),
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
