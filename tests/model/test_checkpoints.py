"""Models on disk: saved ones come back the same, everything else is refused with its reason."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from cde_retrievers import ContextualModel
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.storage.checksums import write_checksums


@pytest.fixture
def saved(make_model, tmp_path):
    make_model("cached").save(tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder, **changes):
    """A whole directory with another config, as another release might have written it."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    write_checksums(folder)


def edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors")
    write_checksums(folder)


def test_a_saved_model_comes_back_identical(conditioning, make_model, tmp_path):
    model = make_model(conditioning, query_prompt="q: ", context_size=7)
    model.save(tmp_path / "model")
    again = ContextualModel.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    assert again.fingerprint() == model.fingerprint()
    assert not again.training
    for (name, weight), (_, expected) in zip(again.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(weight, expected), name


def test_shared_weights_are_stored_once(make_model, tmp_path):
    make_model("whitening").save(tmp_path / "model")
    names = load_file(tmp_path / "model" / "model.safetensors").keys()
    assert names
    assert all(name.startswith("first_stage.backbone.") for name in names)


def test_fingerprint_follows_weights_and_settings(make_model):
    base = make_model("cached").fingerprint()
    assert make_model("cached").fingerprint() == base
    assert make_model("cached", context_size=9).fingerprint() == base
    changed = make_model("cached")
    with torch.no_grad():
        changed.second_stage.gate[1, 2] += 1e-3
    others = [
        changed,
        make_model("whitening"),
        make_model("cached", query_prompt="q: "),
        make_model("cached", max_length=16),
    ]
    assert len({base, *(model.fingerprint() for model in others)}) == 5


def test_fingerprint_does_not_depend_on_dropout(make_model):
    model = make_model("cached")
    backbone = {**model.config.backbone, "hidden_dropout_prob": 0.5}
    other = ContextualModel(model.config.model_copy(update={"backbone": backbone}))
    other.load_state_dict(model.state_dict())
    assert other.fingerprint() == model.fingerprint()


def test_missing_files_are_named(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no model: there is no config.json"):
        ContextualModel.from_pretrained(tmp_path)
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing; fetch or save it again"):
        ContextualModel.from_pretrained(saved)
    write_checksums(saved)
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing; .* safetensors only"):
        ContextualModel.from_pretrained(saved)


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_damaged_config_is_refused(saved, content):
    (saved / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        ContextualModel.from_pretrained(saved)


def test_truncated_weights_are_refused(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged or not the expected file: its sha256 is"):
        ContextualModel.from_pretrained(saved)
    write_checksums(saved)
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged or incomplete"):
        ContextualModel.from_pretrained(saved)


def test_unknown_settings_and_formats_are_refused(saved):
    edit_config(saved, magic=True)
    with pytest.raises(CheckpointError, match=r"config\.json does not .*magic: Extra inputs are not permitted"):
        ContextualModel.from_pretrained(saved)
    edit_config(saved, format_version=99)
    with pytest.raises(CheckpointError, match="format version 99, but this release reads 2 and earlier; update cde-"):
        ContextualModel.from_pretrained(saved)


def test_weights_that_do_not_fit_are_listed(saved):
    def edit(weights):
        weights["second_stage.gate"] = torch.zeros(3, 4)
        weights["second_stage.gaet"] = torch.zeros(1)
        del weights["second_stage.context_projection.bias"]

    edit_weights(saved, edit)
    with pytest.raises(CheckpointError, match="do not fit") as caught:
        ContextualModel.from_pretrained(saved)
    assert "missing second_stage.context_projection.bias" in str(caught.value)
    assert "unexpected second_stage.gaet" in str(caught.value)
    assert "second_stage.gate has shape (3, 4) instead of (2, 4)" in str(caught.value)


def test_a_plain_biencoder_is_refused_with_the_way_to_use_it(biencoder_folder):
    with pytest.raises(CheckpointError, match=r"is not a contextual model; .* from_biencoder\("):
        ContextualModel.from_pretrained(biencoder_folder)


def test_max_length_must_fit_the_backbone(make_model):
    with pytest.raises(ConfigurationError, match="max_length is 64, but the backbone has positions for 48 tokens"):
        make_model("cached", max_length=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, r"type 'gpt2' are not supported; supported are \['bert', "),
        ({"model_type": None}, "type None are not supported"),
        ({"number_of_layers": 3}, r"\['number_of_layers'\] are unknown or missing"),
        ({"hidden_size": 33}, "hidden_size 33 is not a multiple of 4 heads"),
        ({"hidden_act": "gelo"}, r"hidden_act: .*no activation of that name \(found 'gelo'\)"),
    ],
)
def test_impossible_backbones_are_refused(make_model, change, message):
    config = make_model("cached").config
    with pytest.raises(ConfigurationError, match=message):
        ContextualModel(config.model_copy(update={"backbone": {**config.backbone, **change}}))
