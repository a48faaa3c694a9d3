"""The headline says what the interval allows to say."""

from dataclasses import replace

import numpy as np
import pytest
from evaluated import comparison, evaluation

from cde_retrievers.evaluation import Comparison, Evaluation
from cde_retrievers.evaluation.comparison import Row
from cde_retrievers.report.findings import headline, signed


def first_of(found: Evaluation, count: int) -> Evaluation:
    values = {name: each[:count] for name, each in found.values.items()}
    return replace(found, queries=found.queries[:count], values=values, best=found.best[:count])


def compared(differences) -> Comparison:
    own, without = (first_of(evaluation(0.4), len(differences)) for _ in range(2))
    own.values["ndcg@10"] = without.values["ndcg@10"] + differences
    rows = (Row("own context", "context", own), Row("no context (null vector)", "context", without))
    return Comparison("tiny", rows)


UNSURE = np.tile([0.4, -0.38], 15)


@pytest.mark.parametrize(
    ("differences", "title", "verdict"),
    [
        (
            np.full(30, 0.05),
            "Its own context gains this corpus 5.0 points of nDCG@10",
            "the gain over dense vectors without context is significant",
        ),
        (
            np.full(30, -0.05),
            "Its own context costs this corpus 5.0 points of nDCG@10",
            "the loss against dense vectors without context is significant",
        ),
        (UNSURE, "No clear effect of its own context on this corpus: +1.0 points", "is not significant"),
        (-UNSURE, "No clear effect of its own context on this corpus: \N{MINUS SIGN}1.0 points", "is not significant"),
        (np.zeros(30), "Its own context changes nothing for this corpus", "Every query scores the same"),
        (
            np.zeros(2),
            "2 queries are too few to tell its own context from dense vectors without context: +0.0 points (+0.0 to ",
            "the two score differently on 0 of 2. About 25 queries of the kind would be enough.",
        ),
        (
            np.full(2, 0.3),
            "2 queries are too few to tell its own context",
            "neither a difference nor a sign",
        ),
        (np.full(1, 0.3), "1 query is too few to tell its own context", "the two score differently on 1 of 1"),
        (
            UNSURE[:12],
            "12 queries are too few to tell its own context",
            "About 1,200 queries of the kind would be",
        ),
    ],
)
def test_the_headline_follows_the_interval(differences, title, verdict):
    found = headline(compared(differences))
    assert found.title.startswith(title)
    assert verdict in found.verdict


@pytest.mark.parametrize("differences", [np.full(30, 0.05), np.full(30, -0.05), UNSURE, np.zeros(30)])
def test_where_the_queries_come_from_is_said_in_the_same_sentence(differences):
    bare, found = headline(compared(differences)), headline(compared(differences), "on queries made from headings")
    for told, plain in ((found.title, bare.title), (found.verdict, bare.verdict)):
        assert told == f"On queries made from headings, {plain[0].lower()}{plain[1:]}"


def test_the_detail_has_both_means_and_the_paired_interval():
    found = compared(UNSURE)
    gain = found.gain_over("no context (null vector)")
    detail = headline(found).detail
    for part in ("has nDCG@10 41.0", "and 40.0 in", signed(gain.low), signed(gain.high), "30 queries", "null vector"):
        assert part in detail


@pytest.mark.parametrize(
    ("mode", "title"),
    [
        ("hybrid", "Hybrid search under its own context gains this corpus 10.0 points of nDCG@10"),
        ("lexical", "Search by words under its own context gains this corpus 10.0 points of nDCG@10"),
        ("dense", "Its own context gains this corpus 10.0 points of nDCG@10"),
    ],
)
def test_the_headline_names_what_gains(mode, title):
    rows = [
        Row(f"own context, {mode}", "context", evaluation(0.5), mode=mode),
        Row("no context (null vector), hybrid", "context", evaluation(0.45), mode="hybrid"),
        Row("no context (null vector), dense", "context", evaluation(0.4), mode="dense"),
    ]
    assert headline(Comparison("tiny", tuple(rows))).title == f"{title} over dense vectors without context"
    assert "By vectors alone" not in headline(Comparison("tiny", tuple(rows))).detail


def test_the_gain_over_what_is_built_by_hand_stands_in_the_same_sentence():
    rows = [
        Row("own context, hybrid", "context", evaluation(0.5), mode="hybrid"),
        Row("no context (null vector), dense", "context", evaluation(0.4), mode="dense"),
        Row("RRF of plain vectors and BM25", "other", evaluation(0.49, seed=1), mode="rrf"),
    ]
    found = Comparison("tiny", tuple(rows))
    gain = found.gain_over("RRF of plain vectors and BM25")
    assert not gain.excludes_zero
    told = headline(found)
    assert told.title == (
        "Hybrid search under its own context gains this corpus 10.0 points of nDCG@10 over dense vectors without "
        f"context; over RRF of plain vectors and BM25 +1.0 points ({signed(gain.low)} to {signed(gain.high)})"
    )
    assert told.verdict.endswith("The difference to RRF of plain vectors and BM25 is not significant.")


def test_the_context_of_another_corpus_is_not_the_own_one():
    rows = [
        Row("own context, dense", "context", evaluation(0.42), mode="dense"),
        Row("no context (null vector), dense", "context", evaluation(0.4), mode="dense"),
        Row("context of other, dense", "context", evaluation(0.3), mode="dense"),
    ]
    assert "By vectors alone" not in headline(Comparison("tiny", tuple(rows))).detail


def test_the_detail_tells_the_part_of_the_vectors():
    rows = [
        Row("own context, hybrid", "context", evaluation(0.5), mode="hybrid"),
        Row("own context, dense", "context", evaluation(0.42), mode="dense"),
        Row("no context (null vector), dense", "context", evaluation(0.4), mode="dense"),
    ]
    detail = headline(Comparison("tiny", tuple(rows))).detail
    assert detail.endswith("By vectors alone the own context makes a difference of +2.0 points (+2.0 to +2.0).")


def test_the_headline_is_about_no_context_wherever_that_row_stands():
    found = comparison(0.5, 0.4, BM25=0.1)
    other_order = Comparison(found.model, (found.rows[0], found.rows[2], found.rows[1]))
    assert headline(other_order) == headline(found)
