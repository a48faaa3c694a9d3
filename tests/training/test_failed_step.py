"""A step without a finite loss or gradient ends the run and leaves its batch behind."""

import json

import pytest
import torch
from runs import PAIRS, small_config
from safetensors.torch import load_file
from transformers import TrainerCallback

from cde_retrievers.errors import TrainingError
from cde_retrievers.training.checkpoints import checkpoints_in, newest_complete
from cde_retrievers.training.run import train


class Spoil(TrainerCallback):
    """Gives a weight a value before a step, and keeps the module in sight."""

    def __init__(self, step, value):
        self.step, self.value = step, value

    def on_step_begin(self, args, state, control, model, **_):
        self.module = model
        if state.global_step + 1 == self.step:
            with torch.no_grad():
                model.model.second_stage.context_projection.bias[0] = self.value


def test_a_loss_that_is_not_a_number_stops_training_at_its_step(make_encoder, tmp_path):
    config = small_config(tmp_path, save_strategy="steps", save_steps=2)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4, .*failed-step-4-process-0"):
        train(make_encoder("cached"), PAIRS, config, callbacks=[Spoil(4, float("nan"))])
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-2"]
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-2"


def test_its_batch_is_saved_with_texts_and_tensors(make_encoder, tmp_path):
    with pytest.raises(TrainingError):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path), callbacks=[Spoil(3, float("nan"))])
    folder = tmp_path / "failed-step-3-process-0"
    batch = json.loads((folder / "batch.json").read_text())
    assert (batch["step"], batch["reason"], len(batch["pairs"])) == (3, "the loss is nan", 9)
    shown = batch["pairs"][0]
    assert (shown["query"], shown["positive"]) == (PAIRS[shown["row"]].query, PAIRS[shown["row"]].positive)
    inputs = load_file(folder / "inputs.safetensors")
    assert inputs["query_input_ids"].shape[0] == inputs["left_out"].shape[0] == 9
    assert inputs["pair_rows"].tolist() == [pair["row"] for pair in batch["pairs"]]


def test_a_gradient_that_is_not_finite_stops_training_before_the_weights_change(make_encoder, tmp_path):
    class SpoilGradient(Spoil):
        def on_step_begin(self, args, state, control, model, **_):
            self.module = model
            if state.global_step + 1 == self.step:
                model.model.second_stage.gate.register_hook(lambda gradient: gradient * float("nan"))

    spoil = SpoilGradient(2, None)
    with pytest.raises(TrainingError, match=r"a gradient is not finite at step 2"):
        train(make_encoder("cached"), PAIRS, small_config(tmp_path), callbacks=[spoil])
    assert all(torch.isfinite(weight).all() for weight in spoil.module.parameters())
