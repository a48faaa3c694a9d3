"""A step's tensors, against the slow and obvious way to make them."""

import numpy as np
import pytest
import torch
from runs import PAIRS, small_config
from tiny import CORPUS, build_tokenizer

from cde_retrievers.text import TextTokenizer
from cde_retrievers.training.batches.collator import Collator, FalseNegativeFilter, Share, TokenTable, own_columns
from cde_retrievers.training.batches.dataloader import StepLoader, Steps
from cde_retrievers.training.batches.schedule import random_schedule
from cde_retrievers.training.batches.step_plan import ContextChoice, StepPlanner
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

TOKENIZER = TextTokenizer(build_tokenizer(), 16, 0)
WITH_NEGATIVES = TrainingPairs.of(
    Pair(pair.query, pair.positive, (CORPUS[place - 1], CORPUS[place - 2], CORPUS[place - 3]), pair.domain)
    for place, pair in enumerate(PAIRS)
)
ROWS = np.asarray([5, 6, 7, 40, 41, 42])  # negatives of one are positives of another


def collator(pairs, share, vectors=None):
    tables = [TokenTable(texts, prompt, TOKENIZER) for texts, prompt in ((pairs.queries, "q "), (pairs.documents, ""))]
    return Collator(pairs, *tables, FalseNegativeFilter(), share, vectors)


def planner(pairs=WITH_NEGATIVES, hard_negatives=2, size=8, **settings):
    return StepPlanner(pairs, hard_negatives, ContextChoice(pairs, size, **settings), seed=3)


def padded(texts):
    return TOKENIZER.pad(TOKENIZER.encode(texts))


def assert_tokens(step, role, texts):
    ids, mask = padded(texts)
    torch.testing.assert_close(step[f"{role}_input_ids"], ids)
    torch.testing.assert_close(step[f"{role}_attention_mask"], mask)


def test_a_table_pads_the_texts_that_are_asked_for():
    table = TokenTable(["red cat", "the tree", "a"], "the ", TOKENIZER)
    ids, mask = table.batch(np.asarray([2, 0, 2]))
    expected = padded(["the a", "the red cat", "the a"])
    assert len(table) == 3
    torch.testing.assert_close((ids, mask), expected)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_step_is_that_of_one_process_after_the_other(rank):
    plan = planner(multiple_of=2).plan(ROWS, epoch=1, step=4)
    step = collator(WITH_NEGATIVES, Share(rank, 2)).collate(plan)
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
def test_what_is_left_out_are_known_answers_but_never_ones_own(rank):
    plan = planner().plan(ROWS, epoch=0, step=0)
    step = collator(WITH_NEGATIVES, Share(rank, 2)).collate(plan)
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
        assert step["left_out"][query].tolist() == expected
    assert step["left_out"].any()


def answers(pairs, row):
    return {pair.positive for pair in pairs if pair.query == pairs[int(row)].query}


def test_frozen_context_vectors_are_the_same_on_every_process():
    vectors = np.random.default_rng(0).normal(size=(len(PAIRS.documents), 4)).astype(np.float32)
    plan = planner(PAIRS, 0).plan(ROWS, 0, 0)
    steps = [collator(PAIRS, Share(rank, 2), vectors).collate(plan) for rank in (0, 1)]
    torch.testing.assert_close(steps[0]["context_vectors"], torch.from_numpy(vectors[plan.context]))
    torch.testing.assert_close(steps[1]["context_vectors"], steps[0]["context_vectors"])
    assert "context_input_ids" not in steps[0]


def test_a_model_without_a_context_gets_none():
    plan = StepPlanner(PAIRS, 0, None, seed=0).plan(ROWS, 0, 0)
    assert not [name for name in collator(PAIRS, Share()).collate(plan) if name.startswith("context")]


def test_a_plan_depends_on_seed_epoch_and_step_alone():
    def negatives(seed, epoch, step):
        plan = StepPlanner(WITH_NEGATIVES, 2, ContextChoice(WITH_NEGATIVES, 8), seed).plan(ROWS, epoch, step)
        return plan.negatives.tolist(), plan.context.tolist()

    assert negatives(1, 2, 3) == negatives(1, 2, 3)
    assert len({str(negatives(*key)) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0))}) == 4


def test_too_few_hard_negatives_are_taken_in_turn():
    plan = planner(hard_negatives=5).plan(ROWS, 0, 0)
    for row, chosen in zip(ROWS, plan.negatives, strict=True):
        assert set(chosen.tolist()) == set(WITH_NEGATIVES.negatives_of[row])


BATCH = np.asarray([4, 9, 4, 1, 30])


def choose(choice, seed=0):
    return choice.choose(BATCH, PAIRS.domain_of[BATCH], np.random.default_rng(seed)).tolist()


def test_the_context_is_a_random_order_of_the_batch_each_document_once():
    chosen = choose(ContextChoice(PAIRS, 100))
    assert sorted(chosen) == [1, 4, 9, 30]
    assert chosen != choose(ContextChoice(PAIRS, 100), seed=1)
    assert choose(ContextChoice(PAIRS, 3)) == chosen[:3]


def test_a_context_from_the_domain_has_the_batch_first_then_others_of_it():
    chosen = choose(ContextChoice(PAIRS, 20, from_domain=True))
    assert set(chosen[:4]) == {1, 4, 9, 30}
    assert len(set(chosen)) == 20
    assert {PAIRS.domain_of[row] for row in chosen} == set(PAIRS.domain_of[BATCH].tolist())
    everything = choose(ContextChoice(PAIRS, 500, from_domain=True))
    assert len(everything) == len(set(everything)) == np.isin(PAIRS.domain_of, PAIRS.domain_of[BATCH]).sum()


def test_a_model_that_reads_exactly_n_gets_them_by_repetition():
    chosen = choose(ContextChoice(PAIRS, 10, exact=True))
    assert len(chosen) == 10
    assert chosen[:4] == chosen[4:8] == choose(ContextChoice(PAIRS, 10))


def test_the_context_can_be_shared_evenly():
    assert len(choose(ContextChoice(PAIRS, 10, multiple_of=3))) == 3
    assert len(choose(ContextChoice(PAIRS, 10, multiple_of=5))) == 5


def test_a_loader_serves_the_schedule_of_its_epoch(tmp_path):
    schedule = random_schedule(PAIRS, 9, seed=1)
    loader = StepLoader(schedule, Steps(planner(PAIRS, 0), collator(PAIRS, Share())), small_config(tmp_path))
    assert len(loader) == schedule.batches_per_epoch
    for epoch in (0, 3):
        loader.set_epoch(epoch)
        served = [step["pair_rows"].tolist() for step in loader]
        assert served == schedule.batches(epoch).tolist()
