"""A run that was interrupted and goes on ends as one that was not, bit by bit."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import PAIRS, STEPS_PER_EPOCH, same_weights, small_config
from transformers import TrainerCallback

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import TrainingError
from cde_retrievers.model.config import JointConditioning
from cde_retrievers.training.checkpoints import MARKER, mark_complete, newest_complete, starting_point
from cde_retrievers.training.run import run_identity, train

KILLABLE = Path(__file__).parents[1] / "helpers" / "killable_training.py"


class StopAt(TrainerCallback):
    """Ends training after a step, with a checkpoint."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


@pytest.mark.parametrize(
    ("conditioning", "stop", "settings"),
    [
        ("cached", 4, {}),
        ("joint", STEPS_PER_EPOCH, {"chunk_size": None}),
        ("whitening", 7, {}),
        (JointConditioning(null_vector=True), 5, {"sequence_dropout": 0.3}),
        ("cached", 2, {"gradient_accumulation_steps": 2, "train_first_stage": True}),
        ("cached", 3, {"num_train_epochs": 1, "lora_rank": 2, "lora_dropout": 0.1}),
    ],
)
def test_stopped_and_resumed_equals_never_stopped(make_encoder, tmp_path, conditioning, stop, settings):
    encoder = make_encoder(conditioning)
    assert encoder.config.backbone["hidden_dropout_prob"] > 0
    settings = {"logging_steps": 1, **settings}
    whole = train(encoder, PAIRS, small_config(tmp_path / "whole", **settings))
    config = small_config(tmp_path / "parts", **settings)
    part = train(encoder, PAIRS, config, callbacks=[StopAt(stop)])
    assert not same_weights(part.encoder, whole.encoder)
    resumed = train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert same_weights(resumed.encoder, whole.encoder)
    losses = [[entry["loss"] for entry in run.log_history if "loss" in entry] for run in (resumed, whole)]
    assert losses[0] == losses[1]


@pytest.fixture
def stopped(make_encoder, tmp_path):
    """An encoder, the configuration of a run that was stopped after checkpoints 2 and 4, and its folder."""
    encoder = make_encoder("cached")
    config = small_config(tmp_path / "run", save_strategy="steps", save_steps=2)
    train(encoder, PAIRS, config, callbacks=[StopAt(4)])
    return encoder, config, tmp_path / "run"


def test_an_incomplete_checkpoint_is_passed_over_and_said_so(stopped, caplog):
    encoder, config, folder = stopped
    (folder / "checkpoint-4" / MARKER).unlink()
    with caplog.at_level("INFO", logger="cde_retrievers"):
        train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert "checkpoint-4 is incomplete and is skipped" in caplog.text
    assert "checkpoint-2, the newest complete checkpoint" in caplog.text
    assert newest_complete(folder) == folder / "checkpoint-12"


def test_a_checkpoint_with_a_shortened_file_is_none_to_resume(stopped):
    encoder, config, folder = stopped
    optimizer = folder / "checkpoint-4" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"checkpoint-4 is not a complete checkpoint; the newest .*checkpoint-2"):
        train(encoder, PAIRS, config, resume_from_checkpoint=folder / "checkpoint-4")


def damaged(content, chance):
    """The content with one bit, one stretch, or its end changed."""
    kind, place = chance.choice(["bit", "stretch", "end"]), chance.randrange(len(content))
    changed = bytearray(content)
    if kind == "end":
        return bytes(changed[:place])
    for offset in range(place, min(len(changed), place + (1 if kind == "bit" else 16))):
        changed[offset] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_damage_to_any_file_of_a_checkpoint_is_refused(stopped):
    encoder, config, folder = stopped
    facts, chosen, chance = run_identity(encoder, PAIRS, config), folder / "checkpoint-4", random.Random(0)
    assert starting_point(folder, True, facts) == chosen
    files = sorted(path for path in chosen.rglob("*") if path.is_file())
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", MARKER} <= {
        path.name for path in files
    }
    for path in files:
        content = path.read_bytes()
        for _ in range(25):
            path.write_bytes(changed := damaged(content, chance))
            try:
                assert starting_point(folder, chosen, facts) == chosen
            except TrainingError:
                continue
            same = path.name == MARKER and json.loads(changed) == json.loads(content)
            assert same, f"damage to {path.name} went unnoticed"
        path.write_bytes(content)
    assert starting_point(folder, chosen, facts) == chosen


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_no_code_in_a_checkpoint_is_run_even_if_its_marker_vouches_for_it(stopped, tmp_path, name):
    encoder, config, folder = stopped
    torch.save({"state": Bomb(tmp_path / "boom")}, folder / "checkpoint-4" / name)
    with pytest.raises(TrainingError, match=r"is not a complete checkpoint|is damaged"):
        train(encoder, PAIRS, config, resume_from_checkpoint=folder / "checkpoint-4")
    mark_complete(folder / "checkpoint-4", run_identity(encoder, PAIRS, config))
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        train(encoder, PAIRS, config, resume_from_checkpoint=folder / "checkpoint-4")
    assert not (tmp_path / "boom").exists()


def test_a_checkpoint_of_another_run_is_refused(stopped, make_encoder):
    encoder, config, folder = stopped
    with pytest.raises(TrainingError, match=r"belongs to another run \(pairs was"):
        train(encoder, PAIRS[:50], config, resume_from_checkpoint=True)
    other = small_config(folder, seed=3, batching="random")
    with pytest.raises(TrainingError, match=r"batching was 'contextual', is 'random'; seed was 42, is 3"):
        train(encoder, PAIRS, other, resume_from_checkpoint=True)


@pytest.mark.parametrize(
    "changed",
    [{"learning_rate": 1e-5}, {"gate_learning_rate": 0.1}, {"context_size": 8}, {"optim": "sgd"}],
    ids=lambda changed: next(iter(changed)),
)
def test_what_a_checkpoint_brings_back_cannot_be_changed(stopped, changed):
    encoder, _, folder = stopped
    (name,) = changed
    with pytest.raises(TrainingError, match=rf"belongs to another run \({name} was"):
        train(encoder, PAIRS, small_config(folder, **changed), resume_from_checkpoint=True)


def test_another_temperature_counts_from_the_checkpoint_on(stopped):
    encoder, _, folder = stopped
    warmer = small_config(folder, temperature=0.1, logging_steps=1)
    losses = [
        entry["loss"]
        for entry in train(encoder, PAIRS, warmer, resume_from_checkpoint=True).log_history
        if "loss" in entry
    ]
    assert max(losses[2:]) < min(losses[:2])


def test_a_run_that_was_over_makes_no_further_step(make_encoder, tmp_path):
    encoder = make_encoder("cached")
    config = small_config(
        tmp_path, max_steps=4, save_strategy="steps", save_steps=2, lr_scheduler_type="constant", logging_steps=1
    )
    over = train(encoder, PAIRS, config)
    again = train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert same_weights(again.encoder, over.encoder)
    assert [entry["step"] for entry in again.log_history if "loss" in entry] == [1, 2, 3, 4]
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-4"


def test_a_new_run_does_not_mix_its_checkpoints_with_an_old_one(stopped):
    encoder, config, _ = stopped
    with pytest.raises(TrainingError, match=r"already holds checkpoint-4 of an earlier run"):
        train(encoder, PAIRS, config)


def test_a_new_run_does_not_replace_the_model_of_an_old_one(make_encoder, tmp_path):
    encoder, config = make_encoder("cached"), small_config(tmp_path, max_steps=1, save_strategy="no")
    first = train(encoder, PAIRS, config)
    written = (first.model_path / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(TrainingError, match=r"model holds the model of an earlier run, which would be replaced"):
        train(encoder, PAIRS, config)
    assert (first.model_path / "model.safetensors").stat().st_mtime_ns == written


def test_there_must_be_a_checkpoint_to_resume(make_encoder, tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(TrainingError, match=r"no complete checkpoint to resume from \(incomplete: checkpoint-3\)"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path), resume_from_checkpoint=True)
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_killed_at_random_and_resumed_equals_never_killed(biencoder_folder, tmp_path):
    def run(folder, kills):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, KILLABLE, biencoder_folder, folder, str(kills), "0"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1:] == [str(kills)], done.stderr

    run(tmp_path / "whole", 0)
    run(tmp_path / "killed", 3)
    ended = [ContextualEncoder.from_pretrained(tmp_path / name / "model", device="cpu") for name in ("whole", "killed")]
    assert same_weights(*ended)
