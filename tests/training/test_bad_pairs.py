"""Whatever is wrong with pairs is said while they are read: what, where, and the way out."""

import json
from types import SimpleNamespace

import pytest

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.data.from_corpus import pairs_from_corpus
from cde_retrievers.training.data.pairs import Pair
from cde_retrievers.training.data.read import read_pairs

GOOD = b'{"query": "q", "positive": "d"}\n'
HEAD = "query-id\tcorpus-id\tscore\n"
MADE_OF = "A burr grinder crushes beans. It has two abrasive surfaces, which turn against each other."
QA = {"queries": {"q": "who?"}, "corpus": {"a": "cats"}, "relevant_docs": {"q": ["a"]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"mine\.jsonl holds no pairs to train on"),
        (b"\n\n", r"mine\.jsonl holds no pairs to train on"),
        (GOOD + b"{broken\n", r"mine\.jsonl:2 is not valid JSON"),
        pytest.param(GOOD + b"[" * 100_000, r"mine\.jsonl:2 is not valid JSON", id="nested"),
        (GOOD + b"[1]\n", r"mine\.jsonl:2 is a JSON list; every line must be an object"),
        (GOOD + b'{"query": "caf\xe9"}', r"not utf-8 text: byte 46 \(in line 2\) is 0xe9; convert it to utf-8"),
        (GOOD + b'{"query": "q"}\n', r"mine\.jsonl:2 has no column for the positive, only \['query'\]; name one"),
        (GOOD + b'{"query": "q", "positive": null}\n', r"mine\.jsonl:2 has no positive; leave the row out"),
        (GOOD + b'{"query": "q", "positive": " "}\n', r"mine\.jsonl:2: the positive is empty"),
        (GOOD + b'{"query": "", "positive": "d"}\n', r"mine\.jsonl:2: the query is empty"),
        (GOOD + b'{"query": 5, "positive": "d"}\n', r"mine\.jsonl:2: the query must be a text, found int: 5"),
        (GOOD + b'{"query": "q", "positive": ["d"]}\n', r"mine\.jsonl:2: the positive must be a text, found list"),
        (
            GOOD + b'{"query": "q", "positive": "d", "negatives": ["n", 5]}',
            r"2: the negative must be a text, found int",
        ),
        (GOOD + b'{"query": "q", "positive": "d", "negatives": ["d"]}', r"jsonl:2: the positive is among its own neg"),
        (GOOD + b'{"query": "q", "positive": "d", "negatives": {"a": 1}}', r"jsonl:2: negatives must be a list.*dict"),
        (GOOD + b'{"query": "q", "positive": "d", "domain": 5}', r"jsonl:2: the domain must be a text, found int"),
        (GOOD + b'{"query": "\\ud800", "positive": "d"}', r"jsonl:2: the query cannot be read: .*not valid Unicode"),
        (
            b'{"query": "q", "question": "q", "answer": "a"}',
            r"several columns .* query: \['query', 'question'\], of \[",
        ),
        (
            b'{"query": "q", "answer": "a", "context": "c"}',
            r"several columns .* positive: \['answer', 'context'\], of ",
        ),
    ],
)
def test_what_is_wrong_with_a_jsonl_file_is_said(tmp_path, content, message):
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(TrainingDataError, match=message):
        read_pairs(tmp_path / "mine.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qrels/train.tsv": HEAD + "q\tgone\t1\n"}, r"train\.tsv:2 \(query 'q', document 'gone'\): \S+ has no such"),
        ({"qrels/train.tsv": HEAD + "gone\ta\t1\n"}, r"tsv:2 \(query 'gone', document 'a'\): \S+ has no such q"),
        ({"qrels/train.tsv": HEAD + "q\ta\thigh\n"}, r"train\.tsv:2 must have query-id, corpus-id, score"),
        ({"qrels/train.tsv": HEAD + "q\ta\t1\nq\ta\t0\n"}, r"tsv:3 judges document 'a' for query 'q' with 0, but .*:2"),
        ({"qrels/train.tsv": HEAD + "q\ta\t0\n"}, r"pets holds no pairs to train on"),
        ({"qrels/train.tsv": HEAD}, r"pets holds no pairs to train on"),
        ({"corpus.jsonl": '{"_id": "a", "text": ""}'}, r"tsv:2 \(query 'q', document 'a'\): the positive is empty"),
        ({"corpus.jsonl": '{"_id": "a", "text": 5}'}, r"corpus\.jsonl:1: column 'text' must be a text"),
        ({"corpus.jsonl": '{"_id": "a", "text": "x"}\n' * 2}, r"jsonl:2 has the id 'a', which an earlier document"),
        ({"corpus.jsonl": '{"_id": "a", "text": "x", "metadata": {"domain": 5}}'}, r"1: metadata 'domain' must be"),
        ({"queries.jsonl": '{"_id": "q", "text": null}'}, r"jsonl:1: the query's text is None; give a text"),
        ({"queries.jsonl": '{"_id": "q", "text": "x"}\n' * 2}, r"jsonl:2 has the id .q., which the query at"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_beir_folder_is_said(tmp_path, change, message):
    files = {
        "corpus.jsonl": '{"_id": "a", "text": "cats"}',
        "queries.jsonl": '{"_id": "q", "text": "who?"}',
        "qrels/train.tsv": HEAD + "q\ta\t1\n",
    }
    (tmp_path / "pets" / "qrels").mkdir(parents=True)
    for name, content in {**files, **change}.items():
        (tmp_path / "pets" / name).write_text(content)
    with pytest.raises(TrainingDataError, match=message):
        read_pairs(tmp_path / "pets")


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(HEAD)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text('{"_id": "a", "text": "x"}')
    with pytest.raises(TrainingDataError, match=r"no judgements qrels/train\.tsv, only \['test'\]"):
        read_pairs(tmp_path)
    with pytest.raises(TrainingDataError, match=r"has no 'dev', only \['train'\]; name another split"):
        read_pairs({"train": [Pair("q", "d")]}, split="dev")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relevant_docs": {}}, r"query 'q' must have a list of relevant documents, found None; name at least one"),
        ({"relevant_docs": {"q": []}}, r"query 'q' must have a list of relevant documents, found \[\]"),
        ({"relevant_docs": {"q": "a"}}, r"query 'q' must have a list of relevant documents, found 'a'"),
        ({"relevant_docs": {"q": ["b"]}}, r"query 'q': document 'b' is not in the corpus"),
        ({"relevant_docs": {"q": ["a"], "r": ["a"]}}, r"relevant_docs names query 'r', which queries does not have"),
        ({"corpus": ["cats"]}, r"corpus must be a mapping by id, found a list"),
        ({"corpus": {"a": ""}}, r"query 'q': the positive is empty"),
        ({"queries": {}, "relevant_docs": {}}, r"holds no pairs to train on"),
        ({"mode": "image"}, r"is of mode 'image'"),
    ],
)
def test_what_is_wrong_with_a_data_set_of_llama_index_is_said(tmp_path, change, message):
    (tmp_path / "qa.json").write_text(json.dumps({**QA, **change}))
    for source in (tmp_path / "qa.json", SimpleNamespace(**{**QA, **change})):
        with pytest.raises(TrainingDataError, match=message):
            read_pairs(source)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"query": "q", "positive": "d"}\n' * 2, r"qa\.json is not valid JSON: .* name it \.jsonl"),
        ('{"query": "q", "positive": "d"}', r"must hold queries, corpus, relevant_docs, .*\['positive', 'query'\]"),
        pytest.param("[" * 100_000, r"qa\.json is not valid JSON", id="nested"),
        pytest.param('{"queries": ' + "9" * 5_000 + "}", r"qa\.json is not valid JSON", id="long number"),
        ("[1]", r"must hold queries, corpus, relevant_docs, .* found a list"),
    ],
)
def test_json_of_another_layout_is_refused(tmp_path, content, message):
    (tmp_path / "qa.json").write_text(content)
    with pytest.raises(TrainingDataError, match=message):
        read_pairs(tmp_path / "qa.json")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], r"a list holds no pairs to train on"),
        ([Pair("q", "d"), ("q", "d")], r"a list, row 1 is a tuple; give cde_retrievers\.training\.Pair or a mapping"),
        (["q"], r"a list, row 0 is a str"),
        ([Pair("q", 5)], r"a list, row 0: the positive must be a text, found int"),
        ([Pair("q", "")], r"a list, row 0: the positive is empty"),
        ([{"query": "q", "positive": "d"}, {}], r"a list, row 1 has no column for the query, only \[\]"),
        ({"query": ["q"], "positive": ["d"]}, r"has no 'train', only \['query', 'positive'\]; .*Dataset\.from_dict"),
        (5, r"pairs cannot be read from a int; give a path"),
        (pairs_from_corpus([MADE_OF]), r"pairs cannot be read from a CorpusPairs; .* the \.pairs of the result"),
    ],
)
def test_what_is_wrong_with_an_iterable_is_said(source, message):
    with pytest.raises(TrainingDataError, match=message):
        read_pairs(source)


def test_a_place_without_pairs_is_refused(tmp_path):
    with pytest.raises(TrainingDataError, match=r"gone\.jsonl does not exist"):
        read_pairs(tmp_path / "gone.jsonl")
    (tmp_path / "pairs.csv").write_text("query,positive\n")
    with pytest.raises(TrainingDataError, match=r"pairs\.csv: pairs are read from \.jsonl.*datasets\.load_dataset"):
        read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(TrainingDataError, match=r"is not a BEIR folder .* and holds none"):
        read_pairs(tmp_path)


def test_a_split_of_a_source_without_splits_is_refused(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(GOOD)
    for source in (tmp_path / "mine.jsonl", [Pair("q", "d")]):
        with pytest.raises(ConfigurationError, match=r"split= is for BEIR folders and dictionaries of data sets, not "):
            read_pairs(source, split="dev")
