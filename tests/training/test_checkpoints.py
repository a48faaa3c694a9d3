"""What counts as a checkpoint, which ones are kept, and what a full disk leaves."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from runs import PAIRS, small_config, write_beir
from transformers import TrainerCallback

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import TrainingError, WriteError
from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.training.checkpoint_writer import explain_failed_checkpoint, write_weights
from cde_retrievers.training.checkpoints import (
    MARKER,
    checkpoints_in,
    delete_old,
    is_complete,
    mark_complete,
    newest_complete,
    starting_point,
    unmark,
)
from cde_retrievers.training.run import train


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


def test_a_disk_that_is_full_at_the_end_loses_no_checkpoint(make_encoder, tmp_path, monkeypatch):
    def refuse(*_):
        raise WriteError("there is no space left")

    encoder, config = make_encoder("cached"), small_config(tmp_path, save_strategy="steps", save_steps=6)
    with monkeypatch.context() as patch:
        patch.setattr(ContextualEncoder, "save", refuse)
        with pytest.raises(TrainingError, match=r"could not be written \(there is no space left\).*checkpoint-12"):
            train(encoder, PAIRS, config)
    train(encoder, PAIRS, config, resume_from_checkpoint=True)
    assert (tmp_path / "model" / "config.json").is_file()


def test_a_marker_that_cannot_be_written_is_a_checkpoint_that_cannot(make_encoder, tmp_path, monkeypatch):
    def refuse(*_):
        raise WriteError("there is no space left")

    monkeypatch.setattr("cde_retrievers.training.checkpoints.replace_json", refuse)
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
    assert marker.pop("seal")
    assert marker == {
        "files": {"model.safetensors": 7},
        "sha256": {"model.safetensors": sha256_of_text("weights")},
        "run": {"seed": 1},
        "format_version": 1,
    }


def test_a_checkpoint_of_an_earlier_release_has_sizes_only_and_is_taken(tmp_path):
    path = write_checkpoint(tmp_path, 1)
    (path / MARKER).write_text(json.dumps({"files": {"model.safetensors": 7}, "run": {"seed": 1}}))
    assert starting_point(tmp_path, True, {"seed": 1}) == path
    (path / "model.safetensors").write_bytes(b"weight")
    assert not is_complete(path)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_refused_with_the_way_on(tmp_path):
    first, second = write_checkpoint(tmp_path, 1), write_checkpoint(tmp_path, 2)
    flip(second / "model.safetensors", 3)
    for resume in (True, second):
        with pytest.raises(
            TrainingError, match=r"checkpoint-2/model.safetensors is damaged.*; delete .*-2 to continue"
        ):
            starting_point(tmp_path, resume, {"seed": 1})
    assert starting_point(tmp_path, first, {"seed": 1}) == first
    shutil.rmtree(second)
    assert starting_point(tmp_path, True, {"seed": 1}) == first
    flip(first / "model.safetensors", 3)
    with pytest.raises(TrainingError, match=r"no other checkpoint, so delete .*checkpoint-1 and begin again"):
        starting_point(tmp_path, True, {"seed": 1})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.safetensors", "scaler.pt", "rng_state_1.pth"])
def test_a_file_that_the_trainer_would_read_may_not_be_added(tmp_path, name):
    (write_checkpoint(tmp_path, 1) / name).write_bytes(b"more")
    with pytest.raises(TrainingError, match=f"{name} was added: .*remove it, or there is no other checkpoint"):
        starting_point(tmp_path, True, {"seed": 1})


def test_a_note_beside_the_files_is_nobodys_business(tmp_path):
    path = write_checkpoint(tmp_path, 1)
    (path / "a note.txt").write_text("mine")
    assert starting_point(tmp_path, True, {"seed": 1}) == path


def test_scratch_that_a_killed_run_left_is_no_part_of_the_checkpoint(tmp_path):
    path = write_checkpoint(tmp_path, 1)
    (path / ".scratch").mkdir()
    (path / ".scratch" / "new.bin").write_bytes(b"half")
    mark_complete(path, {"seed": 1})
    shutil.rmtree(path / ".scratch")
    assert starting_point(tmp_path, True, {"seed": 1}) == path


class Damaging(TrainerCallback):
    """Damages the checkpoint with the best weights before they are loaded."""

    def __init__(self, damage):
        self.damage = damage

    def on_epoch_end(self, args, state, control, **_):
        if state.best_model_checkpoint:
            self.damage(Path(state.best_model_checkpoint) / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: flip(path, -9), r"model.safetensors is damaged"),
        (lambda path: flip(path, 6), r"could not be read|is damaged"),
        (lambda path: path.unlink(missing_ok=True), r"which has the best weights, is missing or incomplete"),
    ],
    ids=["weights", "header", "missing"],
)
def test_the_best_weights_are_those_that_were_saved(make_encoder, tmp_path, damage, message):
    pytest.importorskip("ir_measures", reason="needs the packages of the `eval` extra")
    folder = write_beir(tmp_path / "set", {"a": "red cat", "b": "green dog"}, [("cat", "a"), ("dog", "b")])
    config = small_config(
        tmp_path / "run", evaluation=(str(folder),), load_best_model_at_end=True, save_strategy="epoch"
    )
    with pytest.raises(TrainingError, match=message):
        train(make_encoder("cached"), PAIRS, config, callbacks=[Damaging(damage)])
