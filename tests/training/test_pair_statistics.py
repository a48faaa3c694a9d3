"""The report says of pairs what counting by hand says, and what does not suffice is refused before training."""

import json
import logging

import numpy as np
import pytest
from tiny import build_tokenizer

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.data.pair_statistics import check_enough, describe_pairs
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

PAIRS = [
    Pair("red cat", "the cat", ("the dog",), "cats"),
    Pair("red cat", "the cat", (), "cats"),
    Pair("green dog", "the dog", ("the bird",), "dogs"),
    Pair("red cat", "a cat", (), "cats"),
    Pair("green cat", "a cat", (), "cats"),
    Pair("The  Bird", "the bird", (), ""),
    Pair("green dog", "the bird runs in the green tree", (), "dogs"),
    Pair("dog of green", "the cat", ("the dog", "the bird"), "dogs"),
    Pair("green dog", "the bird", (), "cats"),
]


@pytest.fixture
def report(make_encoder):
    """Describes pairs as a model that reads 8 tokens does."""

    def make(pairs=PAIRS, batch_size=4):
        return describe_pairs(TrainingPairs.of(pairs), make_encoder(max_length=8), batch_size=batch_size)

    return make


def test_numbers_and_domains_are_counted(report):
    found = report()
    assert (found.pairs, found.queries.texts, found.documents.texts, found.hard_negatives) == (9, 5, 5, 4)
    assert (found.batches, list(found.domains.items())) == (2, [("cats", 5), ("dogs", 3), ("", 1)])
    assert list(report(PAIRS[5:] + PAIRS[:5]).domains) == ["cats", "dogs", ""]
    assert "domains: 3; 1 of them smaller than a batch" in str(report(batch_size=3))


def test_lengths_are_those_of_the_tokenizer_with_prompts_and_nothing_cut(make_encoder):
    rng = np.random.default_rng(0)
    words = ["the", "cat", "dog", "bird", "runs"]
    pairs = [Pair(" ".join(rng.choice(words, i % 7 + 1)), " ".join(rng.choice(words, i % 30 + 1))) for i in range(60)]
    table, tokenizer = TrainingPairs.of(pairs), build_tokenizer()
    encoder = make_encoder(max_length=12, query_prompt="a ", document_prompt="the a ")
    found = describe_pairs(table, encoder, batch_size=4)
    for role, texts, prompt in ((found.queries, table.queries, "a "), (found.documents, table.documents, "the a ")):
        counts = sorted(len(tokenizer.encode(prompt + text).ids) for text in texts)
        assert (role.texts, role.longest, role.cut) == (len(texts), counts[-1], sum(count > 12 for count in counts))
    assert found.queries.cut == 0 < found.documents.cut


def test_repeated_equal_and_contradicting_pairs_are_found(report):
    # "the bird" is a negative of "green dog" in pair 2 and its positive in pair 8.
    assert report().findings == {"repeated": (1,), "equal": (5,), "contradicting": (2,)}


def test_the_report_is_readable(report):
    assert str(report()).splitlines() == [
        "9 pairs: 5 distinct queries, 5 distinct documents, 4 hard negatives",
        "batches of 4: 2 an epoch",
        "domains: 3; 2 of them smaller than a batch, which share batches with others",
        "tokens of queries: at most 5; 0 of 5 are cut",
        "tokens of documents: at most 9; 1 of 5 are cut",
        "repeated pairs: 1 (pair 1)",
        "pairs whose query is the document: 1 (pair 5)",
        "pairs with a hard negative that is a positive of the query elsewhere: 1 (pair 2)",
    ]


def test_of_many_rows_the_first_are_shown(report):
    found = report([Pair("the cat", "The cat")] * 8 + [Pair("green dog", "the bird")])
    assert found.findings["repeated"] == tuple(range(1, 8))
    assert found.to_dict()["findings"]["repeated"] == {"count": 7, "first": (1, 2, 3, 4, 5)}
    lines = str(found).splitlines()
    assert "repeated pairs: 7 (pair 1, 2, 3, 4, 5, ...)" in lines
    assert "pairs with a hard negative that is a positive of the query elsewhere: 0" in lines


def test_the_report_goes_through_json(report):
    found = json.loads(json.dumps(report(batch_size=np.int64(4)).to_dict()))
    assert found["findings"]["equal"] == {"count": 1, "first": [5]}
    assert found["documents"] == {"texts": 5, "longest": 9, "cut": 1}
    assert (found["batch_size"], found["batches"], found["domains"]) == (4, 2, {"cats": 5, "dogs": 3, "": 1})


def test_reporting_on_a_long_text_logs_no_cut(report, caplog):
    with caplog.at_level(logging.WARNING):
        report([Pair("cat", "the cat " * 500)] * 2)
    assert caplog.text == ""


def test_fewer_pairs_than_a_batch_are_refused():
    with pytest.raises(TrainingDataError, match=r"a batch takes 10 distinct pairs, but only 8 of 9 pairs are distinct"):
        check_enough(TrainingPairs.of(PAIRS), 10)


def test_pairs_that_come_again_count_once(report):
    with pytest.raises(TrainingDataError, match=r"a batch takes 9 distinct pairs, but only 8 of 9 pairs are distinct"):
        check_enough(TrainingPairs.of(PAIRS), 9)
    assert report(batch_size=8).batches == 1
    assert report(batch_size=9).batches == 0


def test_enough_pairs_pass():
    check_enough(TrainingPairs.of([Pair("q", "d"), Pair("r", "e")]), 2)
    check_enough(TrainingPairs.of([Pair("q", "d", ("n",)), Pair("r", "d")]), 2)


def test_pairs_that_all_have_one_document_are_refused():
    with pytest.raises(TrainingDataError, match=r"all pairs have the same document"):
        check_enough(TrainingPairs.of([Pair("q", "d"), Pair("r", "d")]), 2)


def test_pairs_that_all_have_one_query_are_refused():
    with pytest.raises(TrainingDataError, match=r"all pairs have the same query"):
        check_enough(TrainingPairs.of([Pair("q", "d"), Pair("q", "e")]), 2)
    check_enough(TrainingPairs.of([Pair("q", "d", ("n",)), Pair("q", "e", ("n",))]), 2)


def test_rows_that_were_not_read_are_refused():
    for look in (lambda: check_enough(PAIRS, 2), lambda: describe_pairs(PAIRS, None, batch_size=4)):
        with pytest.raises(TrainingDataError, match=r"pairs must be TrainingPairs, found list; make them"):
            look()


@pytest.mark.parametrize("batch_size", [0, 1, -4, 2.5, True, "8"])
def test_an_impossible_batch_size_is_refused(report, batch_size):
    for look in (lambda: check_enough(TrainingPairs.of(PAIRS), batch_size), lambda: report(batch_size=batch_size)):
        with pytest.raises(ConfigurationError, match=r"batch_size must be a whole number of at least 2"):
            look()
