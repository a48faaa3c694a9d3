"""Pairs are read as they stand in files, folders, data sets and iterables; nothing is mixed or lost in silence."""

import gzip
import json
import logging
from types import SimpleNamespace

import pytest

from cde_retrievers.corpora import Corpus
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.data.pairs import Pair
from cde_retrievers.training.data.read import read_pairs

ROWS = [
    {"query": "red cat", "positive": "the cat is red", "negatives": ["a dog", "a bird"], "domain": "cats"},
    {"query": "green dog", "positive": "the dog is green"},
]
PAIRS = [
    Pair("red cat", "the cat is red", ("a dog", "a bird"), "cats"),
    Pair("green dog", "the dog is green", (), "mine"),
]
QRELS = "query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\ta\t2\nq1\tb\t1\nq2\tc\t0\n"
CORPUS = [
    {"_id": "a", "title": "Cats ", "text": " they sleep"},
    {"_id": "b", "title": "", "text": " dogs run ", "metadata": {"domain": "pets"}},
    {"_id": "c", "title": "C", "text": ""},
]
QA = {
    "queries": {"q1": "who sleeps?", "q2": "who runs?"},
    "corpus": {"a": "cats sleep", "b": "dogs run", "c": "birds"},
    "relevant_docs": {"q1": ["a"], "q2": ["b", "a"]},
}


def jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_beir(folder, corpus=CORPUS, qrels=QRELS, split="train", packed=True):
    (folder / "qrels").mkdir(parents=True)
    queries = [{"_id": "q1", "text": "who sleeps?"}, {"_id": "q2", "text": "who runs?"}, {"_id": "q3", "text": ""}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        content = jsonl(rows)
        (folder / f"{name}.jsonl{'.gz' if packed else ''}").write_bytes(gzip.compress(content) if packed else content)
    (folder / "qrels" / f"{split}.tsv").write_text(qrels)
    return folder


@pytest.mark.parametrize(("name", "pack"), [("mine.jsonl", bytes), ("mine.jsonl.gz", gzip.compress)])
def test_rows_of_a_jsonl_file_are_pairs_in_the_domain_they_name_or_else_the_files(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(jsonl(ROWS)))
    assert list(read_pairs(tmp_path / name)) == PAIRS
    assert [pair.domain for pair in read_pairs(str(tmp_path / name), domain="other")] == ["cats", "other"]


@pytest.mark.parametrize("query", ["query", "anchor", "question"])
@pytest.mark.parametrize("positive", ["positive", "document", "context", "answer", "passage"])
def test_columns_go_by_the_names_that_data_sets_use(query, positive):
    assert list(read_pairs([{query: "q", positive: "d"}])) == [Pair("q", "d")]


def test_negatives_are_gathered_from_all_their_columns_in_the_order_of_their_numbers():
    row = {"query": "q", "positive": "d", "negative_10": "n10", "negative_2": "n2", "negative_1": "n1", "negative": "n"}
    assert read_pairs([row])[0].negatives == ("n", "n1", "n2", "n10")
    for none in ([], None):
        assert read_pairs([{"query": "q", "positive": "d", "negatives": none}])[0].negatives == ()


def test_columns_without_a_meaning_are_named_once(caplog):
    rows = [{"id": number, "query": "q", "positive": f"d{number}", "score": 1} for number in range(3)]
    rows.append({"id": 3, "query": "q", "positive": "d3"})
    with caplog.at_level(logging.WARNING):
        read_pairs(rows)
    assert [record.getMessage() for record in caplog.records] == [
        "a list: the columns ['id', 'score'] are not used in training"
    ]


@pytest.mark.parametrize("packed", [True, False])
def test_every_document_judged_above_zero_is_a_positive_with_the_text_an_index_has(tmp_path, packed):
    folder = write_beir(tmp_path / "pets", packed=packed)
    pairs = read_pairs(folder)
    assert list(pairs) == [
        Pair("who sleeps?", "Cats   they sleep", (), "pets"),
        Pair("who runs?", "Cats   they sleep", (), "pets"),
        Pair("who sleeps?", "dogs run", (), "pets/pets"),
    ]
    assert set(pairs.documents) < set(Corpus(folder).texts())
    assert read_pairs(folder, domain="animals").domains == ("animals", "animals/pets")


def test_queries_without_any_answer_make_no_pairs_and_are_counted(tmp_path, caplog):
    folder = write_beir(tmp_path / "pets", qrels="query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\ta\t0\n")
    with caplog.at_level(logging.WARNING):
        assert read_pairs(folder).queries == ("who sleeps?",)
    assert "1 queries, such as 'q2', have no document judged above 0 in 'train'" in caplog.text


def test_a_judgement_given_twice_counts_once(tmp_path):
    assert len(read_pairs(write_beir(tmp_path / "pets", qrels=QRELS + "q1\ta\t1\n"))) == 3


def test_a_folder_of_sets_is_read_set_by_set_and_sets_without_the_split_are_named(tmp_path, caplog):
    for name, split in (("b", "train"), ("a", "train"), ("c", "test")):
        write_beir(tmp_path / name, split=split)
    with caplog.at_level(logging.WARNING):
        assert read_pairs(tmp_path).domains == ("a", "a/pets", "b", "b/pets")
    assert "left out, since they are not BEIR folders with qrels/train.tsv: c" in caplog.text
    assert read_pairs(tmp_path, split="test").domains == ("c", "c/pets")
    with pytest.raises(ConfigurationError, match=r"holds 2, each named after its folder; leave domain= out"):
        read_pairs(tmp_path, domain="all")


def test_a_data_set_of_llama_index_is_read_from_its_file_and_from_the_object(tmp_path):
    expected = [("who sleeps?", "cats sleep"), ("who runs?", "dogs run"), ("who runs?", "cats sleep")]
    (tmp_path / "faq.json").write_text(json.dumps({**QA, "mode": "text"}))
    for source, domain in ((tmp_path / "faq.json", "faq"), (SimpleNamespace(**QA, mode="text"), "")):
        assert list(read_pairs(source)) == [Pair(query, text, (), domain) for query, text in expected]


def test_a_hugging_face_data_set_is_read_by_row_and_by_split():
    datasets = pytest.importorskip("datasets")
    columns = {
        "anchor": ["red cat", "green dog"],
        "positive": ["the cat is red", "the dog is green"],
        "negatives": [["a dog", "a bird"], []],
        "domain": ["cats", None],
    }
    dataset = datasets.Dataset.from_dict(columns)
    assert list(read_pairs(dataset, domain="mine")) == PAIRS
    assert list(read_pairs(dataset.to_iterable_dataset(), domain="mine")) == PAIRS
    splits = datasets.DatasetDict({"train": dataset.select([1]), "dev": dataset.select([0])})
    assert list(read_pairs(splits, domain="mine")) == PAIRS[1:]
    assert list(read_pairs(splits, split="dev")) == PAIRS[:1]


def test_pairs_and_rows_may_be_mixed_and_come_from_a_generator():
    assert list(read_pairs((item for item in (PAIRS[0], ROWS[1])), domain="mine")) == PAIRS
    assert list(read_pairs([Pair("q", "d")], domain="mine")) == [Pair("q", "d", (), "mine")]


def test_a_table_of_pairs_read_again_is_the_same():
    pairs = read_pairs(PAIRS)
    assert read_pairs(pairs).fingerprint == pairs.fingerprint


def test_real_sets_are_read_whole(shared_data):
    pairs = read_pairs(shared_data / "covid-faq")
    assert (len(pairs), len(pairs.queries), len(pairs.domains)) == (2_453, 2_227, 27)
    assert set(pairs.documents) < set(Corpus(shared_data / "covid-faq").texts())
