"""A step's tensors, against the slow and obvious way to make them."""

import numpy as np
import pytest
import torch
from runs import PAIRS, small_config
from tiny import CORPUS, build_tokenizer
from torch.utils.data import DataLoader

from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.training.batches.collator import Collator, ProcessShard, TokenTable, own_columns
from cde_retrievers.training.batches.sampler import PairBatch, PairBatchSampler, random_batches
from cde_retrievers.training.batches.step_plan import ContextSampler, StepDataset
from cde_retrievers.training.data.pairs import Pair, TrainingPairs
from cde_retrievers.training.run import train

TOKENIZER = TextTokenizer(build_tokenizer(), 16, 0)
WITH_NEGATIVES = TrainingPairs.of(
    Pair(pair.query, pair.positive, (CORPUS[place - 1], CORPUS[place - 2], CORPUS[place - 3]), pair.domain)
    for place, pair in enumerate(PAIRS)
)
ROWS = np.asarray([5, 6, 7, 40, 41, 42])  # negatives of one are positives of another


def collator(pairs, shard, vectors=None):
    tables = [TokenTable(texts, prompt, TOKENIZER) for texts, prompt in ((pairs.queries, "q "), (pairs.documents, ""))]
    return Collator(pairs, *tables, shard=shard, context_vectors=vectors)


def planned(pairs=WITH_NEGATIVES, hard_negatives=2, size=8, seed=(3, 0, 0), **settings):
    dataset = StepDataset(pairs, hard_negatives, ContextSampler(pairs, size, **settings))
    return dataset.plan(PairBatch(ROWS, seed))


def padded(texts):
    return TOKENIZER.pad(TOKENIZER.encode(texts))


def assert_tokens(step, role, texts):
    ids, mask = padded(texts)
    torch.testing.assert_close(step[f"{role}_input_ids"], ids)
    torch.testing.assert_close(step[f"{role}_attention_mask"], mask)


def test_a_table_pads_the_texts_that_are_asked_for():
    table = TokenTable(["red cat", "the tree", "a"], "the ", TOKENIZER)
    ids, mask = table.padded(np.asarray([2, 0, 2]))
    expected = padded(["the a", "the red cat", "the a"])
    assert len(table) == 3
    torch.testing.assert_close((ids, mask), expected)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_step_is_that_of_one_process_after_the_other(rank):
    plan = planned(multiple_of=2, seed=(3, 1, 4))
    step = collator(WITH_NEGATIVES, ProcessShard(rank, 2))(plan)
    mine = [WITH_NEGATIVES[int(row)] for row in ROWS[3 * rank : 3 * rank + 3]]
    chosen = [[WITH_NEGATIVES.documents[row] for row in rows] for rows in plan.negatives[3 * rank : 3 * rank + 3]]
    assert_tokens(step, "query", ["q " + pair.query for pair in mine])
    assert_tokens(step, "document", [pair.positive for pair in mine] + [text for texts in chosen for text in texts])
    context = [WITH_NEGATIVES.documents[row] for row in plan.context]
    assert len(context) == 8
    assert_tokens(step, "context", context[4 * rank : 4 * rank + 4])
    for pair, texts in zip(mine, chosen, strict=True):
        assert set(texts) < set(pair.negatives)
        assert len(set(texts)) == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_excluded_are_known_answers_but_never_ones_own(rank):
    plan = planned()
    step = collator(WITH_NEGATIVES, ProcessShard(rank, 2))(plan)
    columns = []
    for start in (0, 3):
        columns += [int(row) for row in plan.positives[start : start + 3]]
        columns += [int(row) for rows in plan.negatives[start : start + 3] for row in rows]
    own = own_columns(3, 2, rank)
    for query in range(3):
        row = ROWS[3 * rank + query]
        expected = [
            WITH_NEGATIVES.documents[document] in answers(WITH_NEGATIVES, row) and column not in own[query]
            for column, document in enumerate(columns)
        ]
        assert columns[own[query, 0]] == WITH_NEGATIVES.positive_of[row]
        assert {columns[place] for place in own[query, 1:]} == set(plan.negatives[3 * rank + query].tolist())
        assert step["excluded"][query].tolist() == expected
    assert step["excluded"].any()


def answers(pairs, row):
    return {pair.positive for pair in pairs if pair.query == pairs[int(row)].query}


def test_frozen_context_vectors_are_the_same_on_every_process():
    vectors = np.random.default_rng(0).normal(size=(len(PAIRS.documents), 4)).astype(np.float32)
    plan = planned(PAIRS, 0)
    steps = [collator(PAIRS, ProcessShard(rank, 2), vectors)(plan) for rank in (0, 1)]
    torch.testing.assert_close(steps[0]["context_vectors"], torch.from_numpy(vectors[plan.context]))
    torch.testing.assert_close(steps[1]["context_vectors"], steps[0]["context_vectors"])
    assert "context_input_ids" not in steps[0]


def test_a_model_without_a_context_gets_none():
    plan = StepDataset(PAIRS, 0, None).plan(PairBatch(ROWS, (0, 0, 0)))
    assert not [name for name in collator(PAIRS, ProcessShard())(plan) if name.startswith("context")]


def test_a_plan_depends_on_seed_epoch_and_step_alone():
    def negatives(*seed):
        plan = planned(seed=seed)
        return plan.negatives.tolist(), plan.context.tolist()

    assert negatives(1, 2, 3) == negatives(1, 2, 3)
    assert len({str(negatives(*key)) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0))}) == 4


def test_too_few_hard_negatives_are_taken_in_turn():
    plan = planned(hard_negatives=5)
    for row, chosen in zip(ROWS, plan.negatives, strict=True):
        assert set(chosen.tolist()) == set(WITH_NEGATIVES.negatives_of[row])


BATCH = np.asarray([4, 9, 4, 1, 30])


def choose(sampler, seed=0):
    return sampler.draw(BATCH, PAIRS.domain_of[BATCH], np.random.default_rng(seed)).tolist()


def test_the_context_is_a_random_order_of_the_batch_each_document_once():
    chosen = choose(ContextSampler(PAIRS, 100))
    assert sorted(chosen) == [1, 4, 9, 30]
    assert chosen != choose(ContextSampler(PAIRS, 100), seed=1)
    assert choose(ContextSampler(PAIRS, 3)) == chosen[:3]


def test_a_context_from_the_domain_has_the_batch_first_then_others_of_it():
    chosen = choose(ContextSampler(PAIRS, 20, from_domain=True))
    assert set(chosen[:4]) == {1, 4, 9, 30}
    assert len(set(chosen)) == 20
    assert {PAIRS.domain_of[row] for row in chosen} == set(PAIRS.domain_of[BATCH].tolist())
    everything = choose(ContextSampler(PAIRS, 500, from_domain=True))
    assert len(everything) == len(set(everything)) == np.isin(PAIRS.domain_of, PAIRS.domain_of[BATCH]).sum()


def test_a_model_that_reads_exactly_n_gets_them_by_repetition():
    chosen = choose(ContextSampler(PAIRS, 10, exact=True))
    assert len(chosen) == 10
    assert chosen[:4] == chosen[4:8] == choose(ContextSampler(PAIRS, 10))


def test_the_context_can_be_shared_evenly():
    assert len(choose(ContextSampler(PAIRS, 10, multiple_of=3))) == 3
    assert len(choose(ContextSampler(PAIRS, 10, multiple_of=5))) == 5


def test_a_loader_serves_the_batches_of_its_epoch():
    sampler, tensors = random_batches(PAIRS, 9, seed=1), collator(PAIRS, ProcessShard())
    dataset = StepDataset(PAIRS, 0, ContextSampler(PAIRS, 8))
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=tensors)
    assert len(loader) == sampler.batches_per_epoch
    for epoch in (0, 3):
        sampler.set_epoch(epoch)
        keys = [PairBatch(rows, (1, epoch, step)) for step, rows in enumerate(sampler.batches(epoch))]
        for served, key in zip(loader, keys, strict=True):
            torch.testing.assert_close(served, tensors(dataset.plan(key)))


def test_a_run_goes_through_the_batches_of_one_epoch_after_the_other(make_encoder, tmp_path, monkeypatch):
    epochs, really_set = [], PairBatchSampler.set_epoch
    monkeypatch.setattr(PairBatchSampler, "set_epoch", lambda s, epoch: (epochs.append(epoch), really_set(s, epoch)))
    train(make_encoder("whitening"), PAIRS, small_config(tmp_path))
    assert sorted(set(epochs)) == [0, 1]
