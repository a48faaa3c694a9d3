"""Wins and losses are the queries that changed most, with what was found."""

import pytest
from reported import DOCUMENTS, compared, evaluated, searched

from cde_retrievers.evaluation import Comparison, RetrievalDataset
from cde_retrievers.evaluation.comparison import Row
from cde_retrievers.report.query_changes import changes
from cde_retrievers.sparse import Analyzer, TermStatistics


def test_wins_and_losses_are_the_ten_biggest_in_order():
    # Twelve queries gain, twelve lose, two stay.
    data = searched(26)
    gains = [*(place / 100 for place in range(1, 13)), *(-place / 100 for place in range(1, 13)), 0.0, 0.0]
    without = [0.5] * 26
    found = changes(data, compared(data, evaluated(data, [0.5 + g for g in gains]), evaluated(data, without)))
    assert (found.won, found.lost, found.same) == (12, 12, 2)
    assert [win.query for win in found.wins] == [f"question {place}" for place in range(11, 1, -1)]
    assert [loss.query for loss in found.losses] == [f"question {place}" for place in range(23, 13, -1)]
    assert found.wins[0].gain == pytest.approx(0.12)
    assert found.losses[0].gain == pytest.approx(-0.12)


def test_rounding_is_no_change():
    data = searched(2)
    sums = [0.1 + 0.2, 0.7]
    found = changes(data, compared(data, evaluated(data, sums), evaluated(data, [0.3, 0.1 + 0.6])))
    assert (found.wins, found.losses, found.same) == ((), (), 2)


def test_a_change_shows_what_each_found_first_and_whether_it_is_right():
    data = searched(2)
    own = evaluated(data, [1.0, 0.2], [("d0", "d9"), ()])
    without = evaluated(data, [0.3, 0.4], [("d9", "d0"), ("d1",)])
    found = changes(data, compared(data, own, without))
    (win,), (loss,) = found.wins, found.losses
    assert (win.own.first, win.own.is_right, win.own.ndcg_at_10) == (DOCUMENTS["d0"], True, 1.0)
    assert (win.without.first, win.without.is_right, win.without.ndcg_at_10) == (DOCUMENTS["d9"], False, 0.3)
    assert (loss.own.first, loss.own.is_right) == (None, False)


def test_what_should_be_found_is_the_best_judged_first():
    grades = {"d1": 1, "d2": 3, "d3": 0, "d4": 2, "d5": 1}
    data = RetrievalDataset.of({"q0": "a question"}, DOCUMENTS, {"q0": grades})
    own = evaluated(data, [1.0], [("d3",)])
    (win,) = changes(data, compared(data, own, evaluated(data, [0.0]))).wins
    assert win.answers == (DOCUMENTS["d2"], DOCUMENTS["d4"])
    assert win.more_answers == 2
    # Judged, but with a grade of 0.
    assert not win.own.is_right


COFFEE = {
    "burr": "A burr grinder crushes beans.",
    "blade": "A blade grinder chops beans.",
    "bloom": "The bloom is hot water on coffee.",
    "press": "Espresso is brewed under pressure.",
}
TERMS = TermStatistics.of(COFFEE.values(), Analyzer())


def words_of(mode, own, without, own_best, without_best, query="a grinder that crushes: burr!", terms=TERMS):
    """The words of the one query, which asks for the burr grinder and for espresso."""
    data = RetrievalDataset.of({"q": query}, COFFEE, {"q": {"burr": 1, "press": 1, "bloom": 0}})
    rows = (
        Row("own context", "context", evaluated(data, [own], [own_best]), mode=mode),
        Row("no context, dense", "context", evaluated(data, [without], [without_best]), mode="dense"),
    )
    found = changes(data, Comparison("tiny", rows), terms)
    ((change,),) = [each for each in (found.wins, found.losses) if each]
    return change.words


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_words_that_favoured_the_right_document_are_named_where_it_won(mode):
    assert words_of(mode, 1.0, 0.6, ("burr", "blade"), ("blade", "burr")) == ("crushes", "burr")
    # What is not among the best is below them.
    assert words_of(mode, 1.0, 0.0, ("burr",), ("bloom", "blade")) == ("crushes", "burr", "grinder")


def test_words_that_favoured_the_wrong_document_are_named_where_it_lost():
    query = "a burr grinder, no blade that chops"
    assert words_of("hybrid", 0.6, 1.0, ("blade", "burr"), ("burr", "blade"), query) == ("blade", "chops")


def test_no_words_are_named_where_they_did_nothing():
    best = ("burr", "blade"), ("blade", "burr")
    assert words_of("dense", 1.0, 0.6, *best) == ()
    assert words_of("hybrid", 1.0, 0.6, *best, terms=None) == ()
    # The words favoured the other document; the vectors decided.
    assert words_of("hybrid", 1.0, 0.6, ("press", "blade"), ("blade", "press")) == ()
    # Two answers changed places, and no wrong document did.
    assert words_of("hybrid", 1.0, 0.9, ("burr", "press", "blade"), ("press", "burr", "blade")) == ()
    # The one above it in both searches did not change places.
    assert words_of("hybrid", 0.6, 0.5, ("blade", "burr"), ("blade", "press")) == ()
