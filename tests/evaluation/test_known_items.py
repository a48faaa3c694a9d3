"""Queries made of documents alone."""

import pytest

from cde_retrievers.errors import EvaluationDataError
from cde_retrievers.evaluation import known_items
from cde_retrievers.index import Document

BODY = "It has a body of a good many words, so that there is something left to find."
ANIMALS = [
    Document(f"The {name} lives in the garden behind the house. {BODY} {name}", id=name) for name in ("cat", "dog")
]


def test_a_first_sentence_asks_for_the_rest():
    found = known_items(ANIMALS)
    assert found.judged.queries == {
        name: f"The {name} lives in the garden behind the house." for name in ("cat", "dog")
    }
    assert found.judged.relevant == {"cat": {"cat": 1}, "dog": {"dog": 1}}
    assert found.texts == (f"{BODY} cat", f"{BODY} dog")
    assert "0 titles and 2 first sentences" in found.note


def test_a_title_asks_before_a_first_sentence():
    found = known_items([Document(ANIMALS[0].text, id="cat", metadata={"title": "All about cats"}), ANIMALS[1]])
    assert found.judged.queries["cat"] == "All about cats"
    assert found.texts[0] == ANIMALS[0].text
    assert "1 titles and 1 first sentences" in found.note


def test_documents_that_cannot_ask_are_searched_whole():
    found = known_items([*ANIMALS, "one short text", "another text"])
    assert found.ids == ("cat", "dog", "document 2", "document 3")
    assert found.texts[2:] == ("one short text", "another text")
    assert list(found.judged.queries) == ["cat", "dog"]


def test_what_two_documents_would_answer_is_not_asked():
    twins = [Document(f"The same words begin both of these. {BODY} {place}", id=str(place)) for place in range(2)]
    assert list(known_items([*ANIMALS, *twins]).judged.queries) == ["cat", "dog"]


def test_at_most_as_many_queries_as_wanted_are_drawn_by_the_seed():
    documents = [Document(f"The animal number {n} lives in the garden. {BODY} {n}", id=f"d{n}") for n in range(50)]
    first, again, other = (list(known_items(documents, max_queries=9, seed=s).judged.queries) for s in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(set(first)) == 9
    assert len(known_items(documents, max_queries=9).texts) == 50


def test_a_corpus_that_gives_no_query_is_refused():
    with pytest.raises(EvaluationDataError, match=r"no query could be made of 2 documents.*give judged queries"):
        known_items(["a text", "another one"])
