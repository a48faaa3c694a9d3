"""The page shows what was found, takes everything along, and lets no text of a user become markup."""

import re
from base64 import b64decode
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from evaluated import matrix
from pages import EVIL, Read
from reported import DOCUMENTS, compared, evaluated, findings, searched

pytest.importorskip("jinja2")
from cde_retrievers.evaluation import known_items
from cde_retrievers.evaluation.comparison import Row
from cde_retrievers.report import page
from cde_retrievers.report.figures import DARK_INK, LIGHT_INK
from cde_retrievers.report.html import excerpt, origin
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.sparse import Analyzer, TermStatistics


@pytest.fixture
def data():
    return searched()


@pytest.fixture
def comparison(data):
    own = [0.6 if place % 2 else 0.5 for place in range(26)]
    return compared(data, evaluated(data, own), evaluated(data, [0.5] * 25 + [0.7]))


@pytest.fixture
def written(data, comparison):
    return page(findings(data, comparison))


def test_the_page_loads_nothing(written):
    read = Read(written)
    addresses = [attributes["src"] for attributes in read.of("img")]
    addresses += [attributes["srcset"] for attributes in read.of("source")]
    assert len(addresses) == 4
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    for tag in ("script", "link", "iframe", "object", "a"):
        assert read.of(tag) == []
    assert "@import" not in written
    assert "url(" not in written
    policies = [a["content"] for a in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_picture_has_words_and_both_colour_schemes(written):
    read = Read(written)
    bars, corpus = read.of("img")
    assert bars["alt"] == ("Bars of nDCG@10 in points: own context 55.0, no context (null vector) 50.8, BM25 50.8.")
    assert corpus["alt"].startswith("Map of 30 documents, 2 of which")
    assert all(image["width"].isdigit() and image["height"].isdigit() for image in (bars, corpus))
    assert [source["media"] for source in read.of("source")] == ["(prefers-color-scheme: dark)"] * 2
    for address, ink in ((bars["src"], LIGHT_INK), (read.of("source")[0]["srcset"], DARK_INK)):
        assert ink.encode() in b64decode(address.partition(",")[2])


def test_pictures_have_the_ink_of_the_page():
    style = (files("cde_retrievers") / "report" / "templates" / "page.css").read_text()
    assert re.findall(r"--ink: (#\w+);", style) == [LIGHT_INK, DARK_INK]


def test_texts_of_users_are_never_markup(data, comparison):
    judged = JudgedQueries({**data.judged.queries, "q1": EVIL}, data.judged.relevant)
    evil = replace(data, name=EVIL, texts=(EVIL, EVIL + "!", EVIL + "?", *data.texts[3:]), judged=judged, note=EVIL)
    rows = [Row(EVIL, row.group, replace(row.evaluation, data=EVIL)) for row in comparison.rows[2:]]
    rows = [*(replace(row, evaluation=replace(row.evaluation, data=EVIL)) for row in comparison.rows[:2]), *rows]
    gains = matrix(np.zeros((2, 2)), (EVIL, "other"))
    read = Read(page(findings(evil, replace(comparison, model=EVIL, rows=tuple(rows)), (0, 1), gains)))
    for tag in ("script", "b"):
        assert read.of(tag) == []
    # Name, title, note, query, answer, both searches, label, model, and the documents of the context.
    assert read.line.count("<script>alert('x')</script> & \"<b>bold</b>\" {{ 7 * 7 }}") >= 9
    assert any(EVIL in image["alt"] for image in read.of("img"))


def test_the_table_has_every_measure_and_the_paired_gain(data, comparison, written):
    read = Read(written)
    gain = comparison.gain_over("no context (null vector)")
    shown = f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})".replace("-", "\N{MINUS SIGN}")
    assert f"no context (null vector) 50.8 80.0 70.0 60.0 {shown}" in read.line


def test_only_significant_differences_are_bold(data):
    without = evaluated(data, [0.5] * 26)
    sure = page(findings(data, compared(data, evaluated(data, [0.6] * 26), without)))
    unsure = page(findings(data, compared(data, evaluated(data, [0.9, 0.12] * 13), without)))
    assert len(re.findall(r"<td[^>]*><strong>[+]10\.0", sure)) == 2
    assert re.findall(r"<td[^>]*><strong>", unsure) == []


def test_the_page_says_where_the_queries_come_from(data, comparison):
    assert "26 queries with judgements that came with the data" in Read(page(findings(data, comparison))).line
    documents = ["How to plant an oak. Dig a hole that is twice as wide as the roots of the tree.", *DOCUMENTS.values()]
    made = origin(known_items(documents))
    assert made.startswith("No judged queries were at hand. 1 query was made from the corpus: 1 first ")


def test_wins_and_losses_are_told_with_what_was_found(data, comparison):
    read = Read(page(findings(data, comparison)))
    assert "12 queries gained, 1 lost, 13 stayed as they were" in read.line
    assert "+0.10 question 1 Should be found the text of document 1" in read.line
    assert "\N{MINUS SIGN}0.10 question 25" in read.line


def test_the_words_that_decided_are_named(data, comparison):
    judged = JudgedQueries({**data.judged.queries, "q1": f"document 1? {EVIL}"}, data.judged.relevant)
    own = replace(comparison.rows[0].evaluation, best=tuple((f"d{place}",) for place in range(26)))
    without = replace(comparison.rows[1].evaluation, best=(("d0",), ("d0",), *(("d0", "d1"),) * 24))
    first, second, *others = comparison.rows
    rows = (replace(first, evaluation=own, mode="hybrid"), replace(second, evaluation=without), *others)
    found = findings(replace(data, judged=judged), replace(comparison, rows=rows))
    read = Read(page(replace(found, context=replace(found.context, terms=TermStatistics.of(data.texts, Analyzer())))))
    assert "Words that favoured the right document: 1 Should be found" in read.line
    assert read.of("script") == []
    # In the last query, that of the loss, the wrong document was favoured by nothing: both searches put it as they did.
    assert read.line.count("Words that favoured the wrong document:") == 0


def test_no_wins_and_no_losses_are_told_as_well(data):
    same = evaluated(data, [0.5] * 26)
    assert Read(page(findings(data, compared(data, same, same)))).line.count("There are none.") == 2


def test_every_document_of_the_context_is_listed_in_its_order(data, comparison):
    chosen = tuple(range(28, 3, -1))
    read = Read(page(findings(data, comparison, chosen)))
    listed = read.line[read.line.index("What the context is made of") :]
    assert [int(number) for number in re.findall(r"the text of document (\d+)", listed)] == list(chosen)
    assert "25 of 30 documents stand for the corpus, chosen by the strategy “kmeans” with seed 7" in listed
    assert [attributes.get("start") for attributes in read.of("ol") if attributes["class"] == "documents"] == [
        None,
        "11",
    ]


def test_a_context_of_the_whole_corpus_is_called_so(data, comparison):
    assert "all its 30 documents are in the context" in Read(page(findings(data, comparison, tuple(range(30))))).line


def test_the_matrix_is_shown_if_there_is_one(data, comparison):
    gains = np.array([[2.0, -1.0], [0.5, 0.1]])
    read = Read(page(findings(data, comparison, matrix=matrix(gains, ("cats", "dogs")))))
    assert [image["alt"][:36] for image in read.of("img")][1] == "Heat map of 2 corpora by 2 contexts;"
    assert "is better than the mean of the others on 1: cats." in read.of("img")[1]["alt"]


def test_excerpts_end_at_a_word_and_say_that_they_end():
    assert excerpt("short  and\nsweet") == "short and sweet"
    assert excerpt("one two three", 9) == "one two…"
    assert excerpt("one two. three", 10) == "one two…"
    assert excerpt("x" * 20, 9) == "x" * 9 + "…"
