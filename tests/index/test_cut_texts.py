"""How many texts a model cuts is said once for each call, with a number over all."""

import logging

import pytest
from tiny import CORPUS

from cde_retrievers.encoder import batching
from cde_retrievers.encoder.cut_texts import counted_cut_texts, cut_texts_told_once
from cde_retrievers.index import ContextualIndex

LONG = ["the cat sleeps " * 30 + str(number) for number in range(5)]


@pytest.fixture
def said(caplog):
    """`said()`: the numbers of texts cut and of texts in all, of every message since the last call."""
    caplog.set_level(logging.WARNING)

    def since_the_last_call() -> list[tuple[int, int]]:
        found = [record.args[:2] for record in caplog.records if "were cut" in record.msg]
        caplog.clear()
        return found

    return since_the_last_call


def test_an_index_says_it_once_for_each_call_whatever_the_batch(make_encoder, said, tmp_path):
    index = ContextualIndex.build([*CORPUS, *LONG], make_encoder(), tmp_path / "index", batch_size=3)
    assert said() == [(5, 59)]
    index.add(text + "!" for text in LONG)  # a stream, whose length is not known
    assert said() == [(5, 5)]
    index.upsert(["a cat"])
    assert said() == []
    index.refit(seed=1, batch_size=7)
    assert said() == [(5 + 5, 59 + 5 + 1)]


def test_an_encoder_says_it_once_over_all_windows(make_encoder, said, monkeypatch):
    monkeypatch.setattr(batching, "_WINDOW_TEXTS", 2)
    encoder = make_encoder()
    context = encoder.fit_context([*CORPUS, *LONG], strategy="kmeans", size=4)
    assert len(said()) == 1
    encoder.encode_documents([*CORPUS, *LONG], context)
    assert said() == [(5, 59)]
    encoder.encode_queries(["a cat", LONG[0]], context)
    assert said() == [(1, 2)]


def test_what_was_cut_before_an_error_is_said_too(said):
    def interrupted() -> None:
        with cut_texts_told_once() as counted:
            counted.add(3, 1, 8)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert said() == [(1, 3)]


def test_who_counts_says_it(make_encoder, said):
    with counted_cut_texts() as counted:
        make_encoder().first_stage_vectors([*CORPUS, *LONG])
    assert (counted.cut, counted.texts, counted.max_length) == (5, 59, 32)
    assert said() == []
