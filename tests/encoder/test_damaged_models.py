"""Directories with a saved encoder: damage to any file, loss, and what was put there by others are refused."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CORPUS

from cde_retrievers import ContextualEncoder, ContextualModel
from cde_retrievers.errors import CDEError, CheckpointError
from cde_retrievers.storage.checksums import CHECKSUMS_FILE, write_checksums

CPU = {"device": "cpu", "dtype": "float32"}
FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
FILES = ["checksums.json", "config.json", "model.safetensors", "tokenizer.json"]
VALUES = [None, True, 0, -1, 3, 0.5, 1e300, 10**9, 10**40, "", "x", "6", [], [1], {}, {"a": []}, "\ud800"]


@pytest.fixture
def saved(make_encoder, tmp_path):
    make_encoder("cached").save(tmp_path / "model")
    return tmp_path / "model"


def load(folder):
    return ContextualEncoder.from_pretrained(folder, **CPU)


def damaged(content, chance):
    """The content with a bit flipped, a stretch replaced or taken out, or cut off."""
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice([1, 1, 8, 64]))
    flipped = bytes([content[start] ^ 1 << chance.randrange(8)]) + content[start + 1 : end]
    piece = chance.choice([flipped, flipped, bytes(end - start), b"", content[start:end] * 2])
    return content[:start] + piece + (b"" if chance.random() < 0.1 else content[end:])


def test_what_is_saved_is_listed(saved):
    assert sorted(path.name for path in saved.iterdir()) == FILES
    assert sorted(json.loads((saved / CHECKSUMS_FILE).read_text())["files"]) == FILES[1:]


@pytest.mark.parametrize("name", FILES)
def test_damage_to_any_file_is_refused_or_changes_nothing(saved, name):
    expected, content, chance = load(saved).fingerprint, (saved / name).read_bytes(), random.Random(name)
    accepted = 0
    for _ in range(100):
        changed = damaged(content, chance)
        (saved / name).write_bytes(changed)
        try:
            found = load(saved).fingerprint
        except CheckpointError:
            continue
        accepted += changed != content
        assert found == expected
        assert changed == content or name == CHECKSUMS_FILE, f"damage to {name} went unnoticed"
    assert accepted <= 5, "only white space between the checksums may change"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_model_is_refused(saved, make_encoder, tmp_path, name):
    make_encoder("joint", query_prompt="q: ").save(tmp_path / "other")
    own = (saved / name).read_bytes()
    shutil.copy(tmp_path / "other" / name, saved / name)
    if own == (saved / name).read_bytes():
        return  # both have one tokenizer
    with pytest.raises(CheckpointError, match="is damaged or not the expected file: its sha256 is"):
        load(saved)


@pytest.mark.parametrize(
    "name", ["zzz.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "backbone_config.json"]
)
def test_further_weights_and_settings_are_refused(saved, name):
    (saved / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=f"{name} was added: .*remove it, or fetch or save it again"):
        load(saved)


def test_what_nobody_reads_may_lie_beside(saved):
    expected = load(saved).fingerprint
    for name in ("README.md", ".gitattributes", "tokenizer_config.json"):
        (saved / name).write_text("{}")
    assert load(saved).fingerprint == expected


def test_a_tokenizer_that_nobody_vouches_for_is_refused(make_model, saved, tmp_path):
    """A model alone has no tokenizer; one that is put beside it later could be any."""
    make_model("cached").save(tmp_path / "alone")
    ContextualModel.from_pretrained(tmp_path / "alone")
    shutil.copy(saved / "tokenizer.json", tmp_path / "alone")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json was added"):
        load(tmp_path / "alone")


def test_a_model_that_an_earlier_release_saved_loads_as_it_did(saved):
    expected = load(saved).fingerprint
    (saved / CHECKSUMS_FILE).unlink()
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "format_version": 1}))
    assert load(saved).fingerprint == expected


def test_lost_checksums_are_noticed(saved):
    (saved / CHECKSUMS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"is incomplete: there is no checksums\.json in it; fetch or save it"):
        load(saved)


def test_saving_over_a_damaged_model_heals_it(saved, make_encoder):
    (saved / "model.safetensors").write_bytes(b"damaged")
    make_encoder("cached").save(saved)
    load(saved)


def test_an_exported_model_carries_checksums_too_and_a_published_one_needs_none(tmp_path):
    ContextualModel.from_pretrained(FIXTURES / "v1_tiny").export_published_layout(tmp_path / "out")
    ContextualModel.from_pretrained(tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights["second_stage_model.output_projection.0.bias"] += 1
    save_file(weights, tmp_path / "out" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or not the expected file"):
        ContextualModel.from_pretrained(tmp_path / "out")


def mutated(value, chance):
    """The settings with one replaced by a value of any kind, or taken out; inside nested ones too."""
    changed = json.loads(json.dumps(value))
    owner = chance.choice([changed, *(part for part in changed.values() if isinstance(part, dict) and part)])
    name = chance.choice(sorted(owner))
    if chance.random() < 0.2:
        del owner[name]
    else:
        owner[name] = chance.choice(VALUES)
    return changed


def works(encoder):
    context = encoder.fit_context(CORPUS)
    rows = encoder.encode_queries(["a red cat", ""], context)
    return rows.shape == (2, encoder.width) and np.isfinite(rows).all()


@pytest.mark.parametrize("conditioning", ["joint", "cached", "whitening"])
def test_a_config_that_was_changed_and_vouched_for_again_is_refused_or_works(make_encoder, tmp_path, conditioning):
    make_encoder(conditioning).save(tmp_path / "model")
    path, chance = tmp_path / "model" / "config.json", random.Random(conditioning)
    settings = json.loads(path.read_text())
    for _ in range(80):
        path.write_text(json.dumps(mutated(settings, chance)))
        write_checksums(tmp_path / "model")
        try:
            encoder = load(tmp_path / "model")
        except CDEError:
            continue
        assert works(encoder)


@pytest.mark.parametrize("name", ["config.json", "backbone_config.json"])
@pytest.mark.parametrize("release", ["v1_tiny", "v2_tiny"])
def test_a_published_config_that_was_changed_is_refused_or_loads(tmp_path, release, name):
    folder = shutil.copytree(FIXTURES / release, tmp_path / "published")
    settings, chance = json.loads((folder / name).read_text()), random.Random(f"{release}{name}")
    for _ in range(40):
        (folder / name).write_text(json.dumps(mutated(settings, chance)))
        try:
            model = ContextualModel.from_pretrained(folder, chance.choice(["train", "hub"]))
        except CDEError:
            continue
        ids = torch.tensor([[1, 9, 11, 2]])
        assert model.first_stage(ids, torch.ones_like(ids)).isfinite().all()


@pytest.mark.parametrize("rows", [0, 1, 95, 97])
def test_a_fused_weight_that_cannot_be_divided_is_refused(tmp_path, rows):
    folder = shutil.copytree(FIXTURES / "v1_tiny", tmp_path / "published")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "Wqkv" in name)
    weights[name] = torch.ones(rows, 32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"whose rows are not 3 equal parts|do not fit the config"):
        ContextualModel.from_pretrained(folder)
