"""Pairs made of documents: what asks, what answers, and that no answer begins with its own question."""

import json

import pytest

from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.pseudo_queries import first_sentence, without_beginning, word_count
from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.index import Document
from cde_retrievers.training.data.from_corpus import pairs_from_corpus

BODY = "they sleep for most of the day and hunt at night"
GUIDE = f"""# The cat

{BODY}

## What it eats

mice and birds, and at times the fish that was meant for you

## Introduction

there is nothing here that would not be in other documents
"""


def texts(made):
    return [(kind, pair.query, pair.positive) for kind, pair in zip(made.kinds, made.pairs, strict=True)]


def test_a_title_asks_for_the_body_and_is_taken_out_of_it():
    for text in (
        BODY,
        f"Cats\n====\n{BODY}",
        f"# CATS\n\n{BODY}",
        f"Cats: {BODY}",
        f"cats {BODY}",
        f"Cats. Cats {BODY}",
    ):
        made = pairs_from_corpus([Document(text, metadata={"title": "Cats"})], kinds=("title",))
        assert texts(made) == [("title", "Cats", BODY)]


def test_a_word_that_only_begins_like_the_title_is_not_cut():
    document = Document(f"Catsuits are worn. {BODY}", metadata={"title": "Cats"})
    with pytest.raises(TrainingDataError, match=r"1: too little text after the would-be query"):
        pairs_from_corpus([document], kinds=("title",))
    made = pairs_from_corpus([Document(f"Most cats are small. {BODY}", metadata={"title": "Cats"})])
    assert texts(made) == [("title", "Cats", f"Most cats are small. {BODY}")]


def test_headings_ask_for_their_sections_and_the_first_of_several_for_the_whole():
    made = pairs_from_corpus([GUIDE])
    assert [(kind, query) for kind, query, _ in texts(made)] == [
        ("title", "The cat"),
        ("heading", "What it eats"),
        ("heading", "Introduction"),
    ]
    title, eats, _ = (positive for _, _, positive in texts(made))
    assert title.startswith(BODY)
    assert title.endswith("other documents")
    assert eats == "mice and birds, and at times the fish that was meant for you"


def test_headings_of_several_documents_are_not_asked():
    made = pairs_from_corpus([GUIDE, f"# The dog\n\n{BODY}, too\n\n## introduction\n\nthis and that and {BODY}"])
    assert [query for _, query, _ in texts(made)] == ["The cat", "What it eats", "The dog"]
    assert made.general == ("introduction",)
    assert "headings of several documents, not asked: introduction" in str(made)


def test_parts_of_a_split_document_are_asked_by_their_heading(tmp_path):
    (tmp_path / "cat.md").write_text(GUIDE.replace("the fish that was meant for you", " ".join([BODY] * 5)))
    corpus = Corpus(tmp_path, ReadOptions(split="headings", max_words=30))
    made = pairs_from_corpus(corpus, domain="pets")
    queries = [query for _, query, _ in texts(made)]
    assert set(made.kinds) == {"heading"}
    assert queries[:2] == ["The cat", "What it eats"]
    assert queries.count("What it eats") > 1
    assert made.pairs.domains == ("pets",)


def test_the_first_sentence_asks_where_nothing_else_does():
    made = pairs_from_corpus([f"Cats are small animals. {BODY.capitalize()}.", GUIDE])
    assert texts(made)[0] == ("sentence", "Cats are small animals.", f"{BODY.capitalize()}.")
    assert "sentence" not in made.kinds[1:]


def test_a_document_is_asked_by_one_first_sentence_only():
    sections = "".join(f"# Introduction\n\nCats are small, part {part}. {BODY.capitalize()}.\n\n" for part in (1, 2))
    made = pairs_from_corpus([sections], kinds=("sentence",))
    assert [query for _, query, _ in texts(made)] == ["Cats are small, part 1."]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Cats sleep all day. They hunt.", "Cats sleep all day."),
        ("Stop! Cats sleep all day. They hunt.", "Stop! Cats sleep all day."),
        ("Ask Dr. Who about the cat. He knows.", "Ask Dr. Who about the cat."),
        ("Cats of the U.S. Army sleep a lot. They hunt.", "Cats of the U.S. Army sleep a lot."),
        ("It is version 1.5 of the cat. New.", "It is version 1.5 of the cat."),
        ("Some cats hunt, e.g. lions do. Others sleep.", "Some cats hunt, e.g. lions do."),
        ('He said "cats sleep all day." They hunt.', 'He said "cats sleep all day."'),
        ("Why cats sleep\nall day\n\nThey are tired.", "Why cats sleep all day"),
        ("猫は昼も寝ている。夜は狩りをする。", "猫は昼も寝ている。"),
        ("A small cat costs approx. two euros a day. Others less.", "A small cat costs approx. two euros a day."),
        ("Cats sleep all day.", None),
        ("猫は昼も寝ている。", None),
        ("cats sleep all day and hunt at night", None),
        ("", None),
    ],
)
def test_a_sentence_ends_where_readers_see_its_end(text, sentence):
    assert first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("text", "query", "rest"),
    [
        ("Red  cat\nsleeps", "red cat", "sleeps"),
        ("red cat. Red cat: red cat - sleeps", "red cat", "sleeps"),
        ("the red cat sleeps", "red cat", "the red cat sleeps"),
        ("red cats sleep", "red cat", ""),
        ("C++ (language) is fast", "C++ (language)", "is fast"),
        ("東京は大きい", "東京", "は大きい"),
        ("red cat", "red cat", ""),
    ],
)
def test_what_stands_behind_the_query_is_left(text, query, rest):
    assert without_beginning(text, query) == rest


def test_words_are_counted_in_scripts_with_and_without_spaces():
    assert [word_count(text) for text in ("", "a red-brown cat!", "猫は寝る", "Katze und 猫")] == [0, 4, 4, 3]


def test_what_gave_no_pair_is_counted_by_its_reason():
    documents = [
        Document(BODY, metadata={"title": "Cats"}),
        Document(BODY, metadata={"title": "Cats"}),
        Document(" ", metadata={"title": "Cats"}),
        Document("too short", metadata={"title": "Cats"}),
        BODY,
        " ".join(["word"] * 41) + f". {BODY}",
    ]
    made = pairs_from_corpus(documents)
    assert made.documents == 6
    assert made.without == {
        "no title, no heading of its own, no first sentence to ask with": 2,
        "nothing that a document before it does not give": 1,
        "no text": 1,
        "too little text after the would-be query": 1,
    }
    assert len(made.pairs) == made.made["title"] == 1


def test_what_was_made_is_shown_with_a_sample_of_each_kind():
    numbered = [Document(f"{BODY} {number}", metadata={"title": f"Cats {number}"}) for number in range(10)]
    made = pairs_from_corpus([*numbered, GUIDE, f"Cats are small animals. {BODY.capitalize()}.", ""])
    assert [(kind, pair.query) for kind, pair in made.sample] == [
        ("title", "Cats 0"),
        ("title", "Cats 5"),
        ("heading", "What it eats"),
        ("heading", "Introduction"),
        ("sentence", "Cats are small animals."),
    ]
    shown = str(made).splitlines()
    assert shown[:4] == [
        "14 pairs from 12 of 13 documents: 11 title to body, 2 heading to section, 1 first sentence to the rest",
        "  none from 1: no text",
        "sample:",
        "  title to body",
    ]
    assert shown[4:6] == ["    query:    Cats 0", f"    document: {BODY} 0"]
    assert json.loads(json.dumps(made.to_dict()))["made"] == {"title": 11, "heading": 2, "sentence": 1}
    one = pairs_from_corpus([Document(BODY, metadata={"title": "Cats"})])
    assert str(one).splitlines()[0] == "1 pair from 1 of 1 document: 1 title to body"


def test_domains_are_the_callers_and_the_documents_own():
    documents = [Document(f"{BODY} {number}", metadata={"title": "Cats", "domain": "pets"}) for number in range(2)]
    assert pairs_from_corpus(documents).pairs.domains == ("pets",)
    assert pairs_from_corpus([*documents, GUIDE], domain="docs").pairs.domains == ("docs/pets", "docs")


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], r"no pair could be made of 0 documents \(there are none\)"),
        (["short"], r"no pair could be made of 1 document \(1: no title"),
        (
            ["short", ""],
            r"no pair could be made of 2 documents \(1: no title.*, 1: no text\); give documents with titles",
        ),
        ("text", r"documents must be a collection of documents, found str"),
        (5, r"documents must be a collection of documents, found int"),
        ([5], r"document 0 is a int; give a string or"),
        ([BODY, Document(5)], r"text 1 must be a string, found int"),
        ([Document(GUIDE, metadata={"domain": 5})], r"document 0: metadata 'domain' must be a text, found int"),
    ],
)
def test_documents_that_give_nothing_are_refused(documents, message):
    with pytest.raises(TrainingDataError, match=message):
        pairs_from_corpus(documents)


@pytest.mark.parametrize(
    "choice", [{"kinds": ()}, {"kinds": ("titel",)}, {"kinds": "title"}, {"min_words": 0}, {"min_words": True}]
)
def test_impossible_choices_are_refused(choice):
    with pytest.raises(ConfigurationError, match=r"kinds must be some of|min_words must be a whole number of at least"):
        pairs_from_corpus([GUIDE], **choice)


def test_no_positive_of_a_real_corpus_begins_with_its_query(shared_data):
    corpus = Corpus(shared_data / "squad-train-part", ReadOptions(text=("text",)))
    made = pairs_from_corpus(corpus)
    assert made.made["title"] > 2_000
    for pair in made.pairs:
        assert not pair.positive.casefold().startswith(pair.query.casefold())
