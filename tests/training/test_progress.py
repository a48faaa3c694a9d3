"""What is shown and written while a run goes on."""

import io

import pytest
import torch
from runs import PAIRS, small_config

from cde_retrievers.training import callbacks as progress_line
from cde_retrievers.training.callbacks import progress_text
from cde_retrievers.training.run import train
from cde_retrievers.training.step_metrics import StepMetrics, peak_memory


def test_the_line_names_what_matters_and_leaves_out_what_is_not_known():
    logs = {"loss": 1.23456, "accuracy": 0.5, "pairs_per_second": 812.3, "masked_share": 0.021, "memory_gib": 3.14}
    assert progress_text(logs) == "loss 1.235, accuracy 50.0%, pairs/s 812, masked 2.1%, memory 3.1 GiB"
    assert progress_text({"learning_rate": 1e-5}) == ""


def test_a_terminal_sees_one_line_with_the_last_figures(make_encoder, tmp_path, monkeypatch):
    screen = io.StringIO()
    shown = progress_line.tqdm
    monkeypatch.setattr(
        progress_line, "tqdm", lambda **settings: shown(**{**settings, "file": screen, "disable": False})
    )
    train(make_encoder("cached"), PAIRS, small_config(tmp_path, num_train_epochs=1, disable_tqdm=False))
    last = screen.getvalue().split("\r")[-1]
    assert "6/6" in last
    for word in ("loss", "accuracy", "pairs/s", "masked", "memory"):
        assert word in last


@pytest.mark.parametrize(("disable_tqdm", "shown"), [(None, False), (False, True), (True, False)])
def test_off_a_terminal_there_is_a_line_only_if_asked_for(disable_tqdm, shown, make_encoder, tmp_path, capfd):
    train(make_encoder("cached"), PAIRS, small_config(tmp_path, max_steps=1, disable_tqdm=disable_tqdm))
    assert ("Training" in capfd.readouterr().err) is shown


def test_figures_are_means_since_the_last_log():
    meter = StepMetrics(torch.device("cpu"), world_size=1)
    for accuracy in (0.25, 0.75):
        meter.add({"accuracy": torch.tensor(accuracy), "masked_share": torch.tensor(0.1)}, pairs=4)
    assert meter.drain()["accuracy"] == 0.5
    assert meter.drain() == {}
    meter.add({"accuracy": torch.tensor(1.0), "masked_share": torch.tensor(0.1)}, pairs=4)
    assert meter.drain()["accuracy"] == 1.0


def test_memory_is_in_bytes():
    size = peak_memory(torch.device("cpu"))
    assert size is None or 2**24 < size < 2**44
