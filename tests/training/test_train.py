"""Whole runs of `train` on a tiny model."""

import json
import logging

import numpy as np
import pytest
import torch
from runs import PAIRS, STEPS_PER_EPOCH, same_weights, small_config, weights_of
from tiny import CORPUS, QUERIES
from transformers import TrainerCallback, TrainingArguments

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, TrainingDataError, TrainingError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.model.config import JointConditioning, WhiteningConditioning
from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.data.pairs import Pair, TrainingPairs
from cde_retrievers.training.run import train


def test_the_trained_encoder_is_saved_as_it_is_returned(make_encoder, conditioning, tmp_path):
    result = train(make_encoder(conditioning), PAIRS, small_config(tmp_path))
    loaded = ContextualEncoder.from_pretrained(result.model_path, device="cpu", dtype="float32")
    context = result.encoder.fit_context(CORPUS)
    assert loaded.fingerprint == result.encoder.fingerprint
    np.testing.assert_array_equal(
        loaded.encode_queries(QUERIES, context), result.encoder.encode_queries(QUERIES, context)
    )


def test_an_index_built_with_the_trained_encoder_finds_its_model_again(make_encoder, tmp_path):
    result = train(make_encoder("cached"), PAIRS, small_config(tmp_path / "run", num_train_epochs=1))
    ContextualIndex.build(CORPUS, result.encoder, tmp_path / "index")
    assert ContextualIndex.open(tmp_path / "index").search("red cat", k=1)[0].text in CORPUS


def test_the_encoder_given_stays_as_it_was(make_encoder, conditioning, tmp_path):
    encoder = make_encoder(conditioning)
    before = weights_of(encoder)
    result = train(encoder, PAIRS, small_config(tmp_path))
    assert all((encoder.model.state_dict()[name] == tensor).all() for name, tensor in before.items())
    assert not same_weights(encoder, result.encoder)
    assert all(weight.requires_grad for weight in result.encoder.model.parameters())


def test_the_loss_goes_down_and_the_log_says_so(make_encoder, tmp_path, capsys):
    result = train(make_encoder("cached"), PAIRS, small_config(tmp_path, num_train_epochs=5))
    steps = [entry for entry in result.log_history if "loss" in entry]
    assert steps[-1]["loss"] < 0.7 * steps[0]["loss"]
    assert [entry["step"] for entry in steps] == [1, *range(2, 5 * STEPS_PER_EPOCH + 1, 2)]
    for entry in steps:
        assert 0 <= entry["accuracy"] <= 1
        assert 0 <= entry["masked_share"] < 1
        assert entry["pairs_per_second"] > 0
        assert entry["memory_gib"] > 0
    written = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    assert written == result.log_history
    assert capsys.readouterr() == ("", "")


def test_a_frozen_first_stage_keeps_its_weights(make_encoder, tmp_path):
    encoder = make_encoder("joint")
    result = train(encoder, PAIRS, small_config(tmp_path))
    assert not any(changes(encoder.model.first_stage, result.encoder.model.first_stage))
    assert any(changes(encoder.model.second_stage, result.encoder.model.second_stage))


def test_a_trained_first_stage_changes_them(make_encoder, tmp_path):
    encoder = make_encoder("joint")
    result = train(encoder, PAIRS, small_config(tmp_path, train_first_stage=True))
    changed = changes(encoder.model.first_stage, result.encoder.model.first_stage)
    assert sum(changed) > 0.9 * len(changed)


def changes(before, after):
    return [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]


def test_whitening_has_no_first_stage_to_freeze(make_encoder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing would be left to train"):
        train(make_encoder("whitening"), PAIRS, small_config(tmp_path, train_first_stage=False))


def test_a_plain_biencoder_trains_without_a_context(biencoder_folder, tmp_path):
    result = train(biencoder_folder, PAIRS, small_config(tmp_path), conditioning=WhiteningConditioning(power=0))
    assert not list((tmp_path / "cache").glob("context-*"))
    assert result.metrics["train_loss"] > 0


def test_recomputing_activations_changes_no_weight(make_encoder, tmp_path):
    settings = {"chunk_size": None, "num_train_epochs": 1}
    plain = train(make_encoder("cached"), PAIRS, small_config(tmp_path / "plain", **settings))
    less = small_config(tmp_path / "less", activation_checkpointing=True, **settings)
    assert same_weights(plain.encoder, train(make_encoder("cached"), PAIRS, less).encoder)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(make_encoder, tmp_path):
    runs = [
        train(make_encoder("cached"), PAIRS, small_config(tmp_path / str(place), seed=seed, num_train_epochs=1))
        for place, seed in enumerate((1, 1, 2))
    ]
    assert same_weights(runs[0].encoder, runs[1].encoder)
    assert not same_weights(runs[0].encoder, runs[2].encoder)


def test_worker_processes_make_the_same_steps(make_encoder, tmp_path):
    alone = train(make_encoder("cached"), PAIRS, small_config(tmp_path / "alone", num_train_epochs=1))
    helped = small_config(tmp_path / "helped", num_train_epochs=1, dataloader_num_workers=1)
    assert same_weights(alone.encoder, train(make_encoder("cached"), PAIRS, helped).encoder)


def test_every_setting_of_the_method_runs(make_encoder, tmp_path):
    pairs = TrainingPairs.of(Pair(p.query, p.positive, (CORPUS[i - 1], CORPUS[i - 2])) for i, p in enumerate(PAIRS))
    config = small_config(
        tmp_path,
        max_steps=2,
        cluster_size=18,
        hard_negatives=2,
        context_size=24,
        context_from="domain",
        train_first_stage=True,
        matryoshka_dimensions=(8, 32),
        false_negative_threshold=None,
        gradient_accumulation_steps=2,
        eval_strategy="no",
    )
    assert np.isfinite(train(make_encoder("cached"), pairs, config).metrics["train_loss"])


def test_pairs_may_come_as_anything_that_read_pairs_takes(make_encoder, tmp_path):
    rows = [{"query": pair.query, "positive": pair.positive, "domain": pair.domain} for pair in PAIRS]
    of_rows = train(make_encoder("cached"), rows, small_config(tmp_path / "rows", num_train_epochs=1))
    of_pairs = train(make_encoder("cached"), PAIRS, small_config(tmp_path / "pairs", num_train_epochs=1))
    assert same_weights(of_rows.encoder, of_pairs.encoder)


def test_hard_negatives_of_some_pairs_are_not_used_and_that_is_said(make_encoder, tmp_path, caplog):
    some = TrainingPairs.of([Pair(PAIRS[0].query, PAIRS[0].positive, (CORPUS[5],), "green"), *PAIRS[1:]])
    train(make_encoder("cached"), some, small_config(tmp_path, max_steps=1))
    assert "hard negatives are not used, because some pairs have none, such as pair 1" in caplog.text


def test_the_hard_negatives_of_a_pair_may_stand_in_several_rows(make_encoder, tmp_path):
    near = [(pair.query, pair.positive, CORPUS[row - 1], CORPUS[row - 2]) for row, pair in enumerate(PAIRS)]
    apart = [Pair(query, positive, (one,)) for query, positive, *both in near for one in both]
    together = [Pair(query, positive, tuple(both)) for query, positive, *both in near for _ in both]
    settings = {"max_steps": 3, "hard_negatives": 2}
    results = [
        train(make_encoder("cached"), pairs, small_config(tmp_path / name, **settings))
        for name, pairs in (("apart", apart), ("together", together))
    ]
    assert same_weights(results[0].encoder, results[1].encoder)


def test_hard_negatives_that_are_missing_are_named(make_encoder, tmp_path):
    with pytest.raises(TrainingDataError, match=r"hard_negatives=1, but pair 0 .* mine_hard_negatives"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path, hard_negatives=1))


def test_fewer_pairs_than_a_batch_are_refused(make_encoder, tmp_path):
    with pytest.raises(TrainingDataError, match=r"a batch takes 60 distinct pairs"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path, per_device_train_batch_size=60))


def test_a_conditioning_for_an_encoder_that_has_one_is_refused(make_encoder, tmp_path):
    with pytest.raises(ConfigurationError, match=r"conditioning describe"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path), conditioning="joint")


def test_a_name_is_that_of_a_bi_encoder_or_of_a_contextual_model(biencoder_folder, model_folder, tmp_path):
    made = train(biencoder_folder, PAIRS, small_config(tmp_path / "made", max_steps=1))
    assert made.encoder.config.conditioning.kind == "cached"
    contextual = train(model_folder, PAIRS, small_config(tmp_path / "contextual", max_steps=1))
    assert contextual.encoder.config.conditioning.kind == "whitening"
    with pytest.raises(ConfigurationError, match=r"already contextual .* takes no conditioning"):
        train(model_folder, PAIRS, small_config(tmp_path / "both"), conditioning="joint")


@pytest.mark.parametrize("settings", [{"output_dir": "run"}, TrainingArguments("run")], ids=["dict", "arguments"])
def test_settings_of_another_kind_are_refused(make_encoder, settings):
    with pytest.raises(ConfigurationError, match=r"config must be a TrainingConfig, found"):
        train(make_encoder("cached"), PAIRS, settings)


def test_released_models_take_exactly_their_number_of_context_documents(make_encoder, tmp_path):
    encoder = make_encoder(JointConditioning(context_slots=16))
    with pytest.raises(ConfigurationError, match=r"reads exactly 16 context vectors, but context_size is 8"):
        train(encoder, PAIRS, small_config(tmp_path, context_size=8))


def test_a_run_shorter_than_its_logging_steps_has_a_loss_to_show(make_encoder, tmp_path):
    result = train(make_encoder("cached"), PAIRS, small_config(tmp_path, max_steps=3, logging_steps=10))
    assert [entry["step"] for entry in result.log_history if "loss" in entry] == [1, 3]


def test_batches_in_which_nothing_is_left_to_tell_apart_are_told(make_encoder, tmp_path, caplog):
    same = TrainingPairs.of(Pair(f"{a} {b}", "a green tree", domain="x") for a in "abcd" for b in "efgh")
    pairs = same + TrainingPairs.of([Pair("red cat", "a red cat", domain="y")])
    with caplog.at_level(logging.WARNING):
        train(make_encoder("cached"), pairs, small_config(tmp_path, max_steps=1, per_device_train_batch_size=8))
    assert "every in-batch negative was excluded" in caplog.text


class Spoil(TrainerCallback):
    """Spoils the model before a step, and keeps it in sight."""

    def __init__(self, step, spoil):
        self.step, self.spoil = step, spoil

    def on_step_begin(self, args, state, control, model, **_):
        self.module = model
        if state.global_step + 1 == self.step:
            self.spoil(model.model.second_stage)


def test_a_loss_that_is_not_a_number_stops_training_at_its_step(make_encoder, tmp_path):
    spoil = Spoil(4, lambda stage: stage.context_projection.bias.data.fill_(float("nan")))
    config = small_config(tmp_path, save_strategy="steps", save_steps=2)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4; .* Start again with a lower learning_rate"):
        train(make_encoder("cached"), PAIRS, config, callbacks=[spoil])
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-2"


def test_a_gradient_that_is_not_finite_stops_training_before_the_weights_change(make_encoder, tmp_path):
    spoil = Spoil(2, lambda stage: stage.gate.register_hook(lambda gradient: gradient * float("nan")))
    with pytest.raises(TrainingError, match=r"a gradient is not finite at step 2"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path), callbacks=[spoil])
    assert all(torch.isfinite(weight).all() for weight in spoil.module.parameters())
