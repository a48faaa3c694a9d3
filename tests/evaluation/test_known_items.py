"""Queries made of documents alone."""

import numpy as np
import pytest

from cde_retrievers.errors import EvaluationDataError
from cde_retrievers.evaluation import known_items
from cde_retrievers.evaluation.near_copies import near_copies
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
    assert "made from the corpus: 2 first sentences, each" in found.note


def test_a_title_asks_before_a_first_sentence():
    found = known_items([Document(ANIMALS[0].text, id="cat", metadata={"title": "All about cats"}), ANIMALS[1]])
    assert found.judged.queries["cat"] == "All about cats"
    assert found.texts[0] == ANIMALS[0].text
    assert "1 title and 1 first sentence" in found.note


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


def part(text, *path, whole="guide.md", **metadata):
    """A part of a split document."""
    return Document(text, f"{whole}#{path}{text[:5]}", {"heading": path[-1], "part_of": whole, **metadata})


@pytest.mark.parametrize("form", [" > ".join, list, tuple])
def test_headings_ask_with_the_titles_above_them(form):
    path = ("Guide", "Install", "On Linux")
    documents = [
        part(f"Guide > Install > On Linux\n\n{BODY} linux", *path, heading_path=form(path)),
        part(f"Guide > Install > On Mac\n\n{BODY} mac", "On Mac", heading_path=form(("Guide", "Install", "On Mac"))),
        part(f"Guide\n\n{BODY} guide", "Guide", heading_path=form(("Guide",))),
    ]
    found = known_items(documents)
    assert list(found.judged.queries.values()) == ["Guide: Install: On Linux", "Guide: Install: On Mac", "Guide"]
    # Its own title is taken out; those above stay, as they do in its neighbours.
    assert found.texts == (f"Guide > Install\n\n{BODY} linux", f"Guide > Install\n\n{BODY} mac", f"{BODY} guide")
    assert found.made_from == "headings"
    assert found.caveat == "on queries made from the corpus' own headings, not asked by people"


def test_a_heading_without_a_path_asks_below_the_title_of_its_document():
    found = known_items([part(f"## Usage\n\n{BODY}", "Usage", title="Grinder"), *ANIMALS])
    assert "Grinder: Usage" in found.judged.queries.values()


def test_every_part_of_a_section_answers_its_heading():
    parts = [part(f"{start} {BODY} {start}", "Usage") for start in ("## Usage\n\nfirst", "second", "third")]
    found = known_items([*parts, *ANIMALS])
    assert found.judged.queries[parts[0].id] == "Usage"
    assert set(found.judged.relevant[parts[0].id]) == {document.id for document in parts}
    assert found.texts[:3] == tuple(
        f"{start} {BODY} {end}" for start, end in (("first", "## Usage\n\nfirst"), ("second",) * 2, ("third",) * 2)
    )


JUNK = {
    "comment": "<!-- YAML added: v0.11.15 changes: - version: v15.3.0 and many more words that say nothing. -->",
    "open comment": "<!-- a comment that is not closed, with a good many words in it, more than eight of them.",
    "front matter": "---\ntitle: The page\nauthor: who wrote it and with whom and when and why\n---",
    "code": "```js\nThis is code. And it has as many words as a text of a few sentences has, or more. {name}\n```",
    "indented code": "\n    This is code. And it has as many words as a text of sentences.\n    This is more. {name}",
    "tildes": "~~~\nThis is code. And it has as many words as a text of a few sentences has, or more.\n```\n~~~",
    "anchor": '<a id="ERR_WORKER_INVALID_EXEC_ARGV"></a><a name="one two three four five six seven eight nine"></a>',
    "link list": "* [The first of all pages to read](a.md)\n* [The second of all pages to read](b.md)\n- [Next][next]",
    "definitions": "[one]: one.md 'The first of all pages'\n[two]: two.md 'The second of all pages to read today'",
    "parameters": "* `path` {string|Buffer} The path of a file to read.\n* `options` {Object} What else is said.\n"
    "* Returns: {Promise} Fulfils with the content of the file, as it was read.",
    "table": "| name | meaning |\n|---|---|\n| path | The path of a file to read, and much more about it. Yes. |",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_what_nobody_asks_for_neither_asks_nor_is_asked_for(junk):
    junk = junk.replace("{name}", "name")
    below = "" if junk.startswith("---") else junk  # front matter stands at the beginning of a file
    documents = [
        *ANIMALS,
        Document(junk, "bare"),
        part(f"## Notes\n\n{below}", "Notes"),
        Document(f"{junk}\n\n{BODY}", "j"),
    ]
    found = known_items(documents)
    assert set(found.judged.queries) <= {"cat", "dog", "j"}
    assert all("bare" not in grades and documents[3].id not in grades for grades in found.judged.relevant.values())


def test_headings_are_asked_as_a_person_writes_them():
    titles = {
        "`fs.access(path[, mode], callback)`": "fs.access",
        "[Events](events.md) <a id='e'></a>": "Events",
        "**Event**: `'close'` {#close}": "Event: 'close'",
        "C\\_NAME <!-- hidden -->": "C_NAME",
        "When (and when not) to write tests": "When (and when not) to write tests",
        "8.6.3.3. Grinding burrs": "Grinding burrs",
        "2.1 Roasting": "Roasting",
        "3. Brewing": "Brewing",
        "A.1 Filters": "Filters",
        "Chapter 12. Kettles": "Kettles",
        "Chapter 4 Scales": "Scales",
        "Appendix B: Cups": "Cups",
        "3 ways to pour": "3 ways to pour",
        "Part a way to pour": "Part a way to pour",
        "Version 2.1 of 3. Spoons": "Version 2.1 of 3. Spoons",
        "10.4.": "10.4.",
    }
    found = known_items([part(f"{BODY} {place}", title, whole=str(place)) for place, title in enumerate(titles)])
    assert list(found.judged.queries.values()) == list(titles.values())


def test_questions_on_lines_of_their_own_ask_for_what_follows():
    faq = Document(f"Some words go before.\n\n**Q: How are burrs cleaned at home?**\n\n{BODY} burrs", "faq")
    effect = Document(f"The cat sleeps, but why would it not do so? {BODY} effect", "effect")
    last = Document(f"{BODY} last\n\nWhat did you think of this page?", "last")
    found = known_items([faq, effect, last, *ANIMALS])
    assert found.judged.queries["faq"] == "How are burrs cleaned at home?"
    assert "How are burrs" not in found.texts[0]
    assert "1 question in the text" in found.note
    assert all("?" not in query for key, query in found.judged.queries.items() if key not in ("faq", "effect"))


def test_first_sentences_ask_only_where_little_else_does():
    titles = [Document(f"{BODY} {n}", f"t{n}", {"title": f"All about number {n}"}) for n in range(30)]
    assert "29 titles and 2 first sentences" in known_items([*titles[:29], *ANIMALS]).note
    assert "corpus: 30 titles, each" in known_items([*titles, *ANIMALS]).note


LONG = " ".join(f"The {n}th thing to know about this machine is that it has {n * 7} parts." for n in range(9))


def test_near_copies_of_an_answer_are_answers():
    documents = [
        Document(LONG, "one", {"title": "The machine"}),
        Document(f"  {LONG.upper()}\n", "shouted"),
        Document(LONG.replace("56", "57"), "edited"),
        Document(" ".join(LONG.split()[:60]), "half"),
        *ANIMALS,
    ]
    assert set(known_items(documents).judged.relevant["one"]) == {"one", "shouted", "edited"}


def test_copies_that_ask_the_same_are_asked_for_together():
    documents = [Document(LONG, name, {"title": "The machine"}) for name in ("one", "two")]
    found = known_items([*documents, *ANIMALS])
    assert found.judged.relevant["one"] == {"one": 1, "two": 1}
    assert "two" not in found.judged.queries


def chunk(number, title, **metadata):
    return Document(f"Chunk number {number} of it. {BODY} {number}", f"c{number}", {"title": title, **metadata})


@pytest.mark.parametrize("source", [{}, {"file": "all.jsonl", "row": 3}, {"source": "manual.pdf"}])
def test_neighbours_with_one_title_are_parts_of_one_document(source):
    chunks = [chunk(number, "The machine", **source) for number in range(3)]
    judged = known_items([*chunks, *ANIMALS]).judged
    assert [query for query in judged.queries.values() if query == "The machine"] == ["The machine"]
    assert judged.relevant["c0"] == {"c0": 1, "c1": 1, "c2": 1}


def test_what_every_document_answers_is_not_asked():
    found = known_items([chunk(number, "The machine") for number in range(4)])
    assert found.made_from == "first sentences"


def test_one_title_of_different_files_or_places_is_not_asked():
    files = [chunk(number, "The machine", source=f"{number}.pdf") for number in range(2)]
    apart = [chunk(2, "Introduction"), *ANIMALS, chunk(3, "Introduction")]
    assert not {"The machine", "Introduction"} & set(known_items([*files, *apart]).judged.queries.values())


def test_near_copies_are_those_of_the_slow_twin():
    rng = np.random.default_rng(0)
    words = [str(word) for word in rng.integers(400, size=60)]
    texts = []
    for _ in range(60):
        changed = list(words)
        for place in rng.integers(60, size=rng.integers(4)):
            changed[place] = "other"
        texts.append(" ".join(changed[rng.integers(4) :]))
    rows = range(0, 60, 3)

    def share(one, other):
        runs = [{tuple(t.split()[i : i + 4]) for i in range(len(t.split()) - 3)} for t in (one, other)]
        return len(runs[0] & runs[1]) / len(runs[0] | runs[1])

    expected = {r: [o for o in range(60) if o != r and share(texts[r], texts[o]) >= 0.9 - 1e-9] for r in rows}
    assert near_copies(texts, rows) == expected
    assert 0 < sum(map(len, expected.values())) < 20 * 59
