import pytest
import torch
from tiny import CORPUS

from cde_retrievers.encoder import batching as batches
from cde_retrievers.encoder.batching import BatchRunner, length_sorted_batches, text_windows


@pytest.mark.parametrize("padding", [0, 3, 1000])
@pytest.mark.parametrize("budget", [1, 7, 20, 1000])
def test_batches_hold_every_text_once_within_the_budget(budget, padding):
    lengths = [3, 9, 1, 4, 4, 7, 2, 9]
    batches = length_sorted_batches(lengths, budget, padding)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= budget
        assert padded - sum(lengths[i] for i in batch) <= padding
    longest = [lengths[batch[0]] for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert length_sorted_batches([], budget, padding) == []


def test_a_batch_ends_where_a_limit_is_reached():
    lengths = [9, 9, 8, 7, 2]
    assert length_sorted_batches(lengths, 1000, 1000) == [[0, 1, 2, 3, 4]]
    assert length_sorted_batches(lengths, 1000, 3) == [[0, 1, 2, 3], [4]]
    assert length_sorted_batches(lengths, 18, 1000) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("characters", [1, 10, 25, 1000])
@pytest.mark.parametrize("texts", [1, 3, 1000])
def test_windows_cover_the_texts_in_order_and_are_bounded(texts, characters, monkeypatch):
    monkeypatch.setattr(batches, "_WINDOW_TEXTS", texts)
    monkeypatch.setattr(batches, "_WINDOW_CHARACTERS", characters)
    corpus = ["x" * length for length in (3, 9, 0, 4, 40, 1, 1, 1, 8)]
    windows = list(text_windows(corpus))
    assert [i for start, stop in windows for i in range(start, stop)] == list(range(len(corpus)))
    for start, stop in windows:
        assert stop - start <= texts
        assert stop - start == 1 or sum(map(len, corpus[start:stop])) <= characters


def test_no_texts_no_windows():
    assert list(text_windows([])) == []


@pytest.mark.parametrize(("tokens_per_thread", "most"), [(None, 4_096), (20, 20), (100_000, 4_096)])
def test_a_batch_has_no_more_tokens_than_are_quick(tokens_per_thread, most, make_encoder):
    seen = []

    def forward(input_ids, attention_mask):
        seen.append(input_ids.numel())
        return torch.zeros(len(input_ids), 2)

    runner = BatchRunner(make_encoder().tokenizer, torch.device("cpu"), tokens_per_thread)
    assert runner.run(CORPUS * 30, forward, 2).shape == (len(CORPUS) * 30, 2)
    allowed = min(most * torch.get_num_threads(), 4_096)
    assert allowed / 2 < max(seen) <= allowed
