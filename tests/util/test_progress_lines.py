"""Progress where no terminal shows a bar: a line of the log about every minute, with count and estimate."""

import logging

import pytest

from cde_retrievers.util import progress
from cde_retrievers.util.progress import LoggedProgress, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute_with_count_and_estimate(clock, caplog):
    caplog.set_level(logging.INFO)
    with progress_bar(10_000, None, "Indexing", "document") as bar:
        for seconds, done in ((1, 2_000), (30, 500), (29, 500), (50, 1_000), (70, 2_000), (70, 4_000)):
            clock[0] += seconds
            bar.update(done)
    assert caplog.messages == [
        "Indexing: 3,000 of 10,000 documents, about 2 min left",
        "Indexing: 6,000 of 10,000 documents, about 3 min left",
        "Indexing: 10,000 of 10,000 documents",
    ]


def test_a_number_that_is_not_known_is_left_out(clock, caplog):
    caplog.set_level(logging.INFO)
    bar = LoggedProgress(None, "Embedding", "text")
    clock[0] += 60
    bar.update(5)
    clock[0] += 60
    bar.update(0)
    assert caplog.messages == ["Embedding: 5 texts", "Embedding: 5 texts"]


@pytest.mark.parametrize("asked", [True, False])
def test_there_is_no_line_where_a_bar_was_asked_for_or_refused(clock, caplog, capsys, asked):
    caplog.set_level(logging.INFO)
    with progress_bar(10, asked) as bar:
        clock[0] += 600
        bar.update(10)
    assert caplog.messages == []
    assert ("Embedding" in capsys.readouterr().err) is asked


@pytest.mark.parametrize(
    ("total", "at_once", "is_shown"), [(1, True, False), (20, False, False), (20, True, True), (2_000, False, True)]
)
def test_in_a_terminal_long_work_has_a_bar_at_once(monkeypatch, capsys, total, at_once, is_shown):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar(total, None, at_once=at_once):
        assert ("Embedding" in capsys.readouterr().err) is is_shown
