"""What counts as a checkpoint, which ones are kept, and what a full disk leaves."""

import json
import os
from pathlib import Path

import pytest
import torch
from runs import PAIRS, small_config

from cde_retrievers.errors import TrainingError, WriteError
from cde_retrievers.training.run.checkpoints import (
    MARKER,
    checkpoints_in,
    delete_old,
    is_complete,
    mark_complete,
    newest_complete,
    unmark,
)
from cde_retrievers.training.run.saving import explain_failed_checkpoint, write_weights
from cde_retrievers.training.run.training_run import train


def write_checkpoint(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    mark_complete(path, {"seed": 1})
    return path


def test_checkpoints_are_ordered_by_step_not_by_name(tmp_path):
    for step in (9, 100, 20):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-9", "checkpoint-20", "checkpoint-100"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / MARKER).unlink(),
        lambda path: (path / MARKER).write_text("{"),
        lambda path: (path / MARKER).write_text("{}"),
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "model.safetensors").write_bytes(b"weight"),
        unmark,
    ],
)
def test_a_damaged_checkpoint_is_not_complete(tmp_path, damage):
    path = write_checkpoint(tmp_path, 1)
    assert is_complete(path)
    damage(path)
    assert not is_complete(path)
    assert newest_complete(tmp_path) is None


def test_old_checkpoints_go_but_not_the_best_nor_unfinished_ones(tmp_path):
    paths = [write_checkpoint(tmp_path, step) for step in range(1, 6)]
    unmark(paths[4])
    delete_old(tmp_path, 2, best=str(paths[0]))
    assert [path.name[-1] for path in checkpoints_in(tmp_path)] == ["1", "3", "4", "5"]


def test_without_a_limit_all_are_kept(tmp_path):
    write_checkpoint(tmp_path, 1)
    write_checkpoint(tmp_path, 2)
    delete_old(tmp_path, None, best=None)
    assert len(checkpoints_in(tmp_path)) == 2


def test_a_run_keeps_as_many_checkpoints_as_it_was_told(make_encoder, tmp_path):
    config = small_config(tmp_path, save_strategy="steps", save_steps=2, save_total_limit=2)
    train(make_encoder("cached"), PAIRS, config)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-10", "checkpoint-12"]
    assert all(is_complete(path) for path in checkpoints_in(tmp_path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_full_disk_leaves_the_last_checkpoint_and_says_which(make_encoder, tmp_path, file):
    encoder = make_encoder("cached")
    config = small_config(tmp_path, save_strategy="steps", save_steps=2, save_total_limit=1)
    (tmp_path / "checkpoint-4").mkdir()
    if file == "model.safetensors":  # its writer replaces links
        (tmp_path / "checkpoint-4" / file).mkdir()
    else:
        os.symlink("/dev/full", tmp_path / "checkpoint-4" / file)
    with pytest.raises(TrainingError, match=r"checkpoint-4 could not be written .*checkpoint-2, is kept. Free some"):
        train(encoder, PAIRS, config)
    assert checkpoints_in(tmp_path) == [tmp_path / "checkpoint-2"]
    assert is_complete(tmp_path / "checkpoint-2")
    train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert checkpoints_in(tmp_path) == [tmp_path / "checkpoint-12"]


@pytest.mark.parametrize(
    "writer",
    ["encoder.ContextualEncoder.save", "training.watching.training_log.draw_curves"],
)
def test_a_disk_that_is_full_at_the_end_loses_no_checkpoint(make_encoder, tmp_path, monkeypatch, writer):
    def refuse(*_):
        raise WriteError("there is no space left")

    encoder, config = make_encoder("cached"), small_config(tmp_path, save_strategy="steps", save_steps=6)
    with monkeypatch.context() as patch:
        patch.setattr(f"cde_retrievers.{writer}", refuse)
        with pytest.raises(TrainingError, match=r"could not be written \(there is no space left\).*checkpoint-12"):
            train(encoder, PAIRS, config)
    train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert (tmp_path / "model" / "config.json").is_file()
    assert (tmp_path / "learning_curves.png").is_file()


def test_a_marker_that_cannot_be_written_is_a_checkpoint_that_cannot(make_encoder, tmp_path, monkeypatch):
    def refuse(*_):
        raise WriteError("there is no space left")

    monkeypatch.setattr("cde_retrievers.training.run.checkpoints.replace_json", refuse)
    config = small_config(tmp_path, save_strategy="steps", save_steps=6)
    with pytest.raises(TrainingError, match=r"checkpoint-6 could not be written .*there is no complete checkpoint yet"):
        train(make_encoder("cached"), PAIRS, config)
    assert checkpoints_in(tmp_path) == []


def test_other_errors_than_of_writing_are_left_alone(tmp_path):
    explain_failed_checkpoint(RuntimeError("shapes do not fit"), None, tmp_path)
    explain_failed_checkpoint(PermissionError("no such luck"), None, tmp_path)


def test_a_checkpoint_that_is_written_anew_is_not_complete_meanwhile(tmp_path):
    path = write_checkpoint(tmp_path, 1)
    write_weights(path, torch.nn.Linear(2, 2), {"seed": 1})
    assert not is_complete(path)
    mark_complete(path, {})
    assert is_complete(path)


def test_the_marker_names_the_run_and_the_files(tmp_path):
    marker = json.loads((write_checkpoint(tmp_path, 1) / MARKER).read_text())
    assert marker == {"files": {"model.safetensors": 7}, "run": {"seed": 1}}
