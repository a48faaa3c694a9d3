"""Reading bi-encoders: what transformers or sentence-transformers would compute, or an error."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import build_tokenizer, write_biencoder
from torch.testing import assert_close
from transformers import (
    AutoModel,
    BertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from cde_retrievers import ContextualModel
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.model.biencoder import read_biencoder

IDS = torch.tensor([[2, 5, 9, 11, 3], [2, 7, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture
def folder(biencoder_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(biencoder_folder, tmp_path / "copy")


def write(path, value):
    path.write_text(json.dumps(value))


def written(folder, model_class, config_class, **settings):
    """A random bi-encoder that counts positions after padding; token ids, and its own embedding of them."""
    torch.manual_seed(0)
    config = config_class(
        vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=34, initializer_range=0.3, pad_token_id=1, **settings,
    )  # fmt: skip
    plain = model_class(config).eval()
    write_biencoder(folder, plain, build_tokenizer(), max_length=512)
    ids = torch.where(MASK.bool(), IDS, 1)
    states = plain(input_ids=ids, attention_mask=MASK).last_hidden_state
    return ids, (states * MASK[..., None]).sum(1) / MASK.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("model_class", "config_class"), [(RobertaModel, RobertaConfig), (XLMRobertaModel, XLMRobertaConfig)]
)
def test_other_families_give_the_biencoders_embedding(model_class, config_class, tmp_path):
    ids, expected = written(tmp_path / "model", model_class, config_class, type_vocab_size=1)
    context = torch.randn(4, 32)
    model = ContextualModel.from_biencoder(tmp_path / "model", "cached")
    assert model.config.max_length == 32, "two rows of the position table belong to padding"
    assert_close(model.first_stage(ids, MASK), expected, atol=1e-5, rtol=0)
    assert torch.equal(model.second_stage(ids, MASK, context), model.first_stage(ids, MASK))
    joint = ContextualModel.from_biencoder(tmp_path / "model", "joint").second_stage
    assert_close(joint(ids, MASK, context.flip(0)), joint(ids, MASK, context), atol=1e-5, rtol=0)


def test_mpnet_gives_its_embedding_and_has_no_place_for_context_without_order(tmp_path):
    ids, expected = written(tmp_path / "model", MPNetModel, MPNetConfig)
    model = ContextualModel.from_biencoder(tmp_path / "model", "whitening")
    assert model.config.max_length == 32
    assert_close(model.first_stage(ids, MASK), expected, atol=1e-5, rtol=0)
    for kind in ("cached", "joint"):
        with pytest.raises(
            ConfigurationError, match=f"{kind} .* not available over 'mpnet' backbones; use 'whitening'"
        ):
            ContextualModel.from_biencoder(tmp_path / "model", kind)


def test_settings_come_from_the_sentence_transformers_files(folder):
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: ", "document": "d: "}})
    settings = read_biencoder(folder).settings
    assert settings["max_length"] == 32
    assert settings["pooling"] == "mean"
    assert (settings["query_prompt"], settings["document_prompt"]) == ("q: ", "d: ")


@pytest.mark.parametrize("pooling", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}])
def test_cls_pooling_takes_the_first_token(folder, pooling):
    write(folder / "1_Pooling" / "config.json", pooling)
    states = BertModel.from_pretrained(folder)(input_ids=IDS, attention_mask=MASK).last_hidden_state
    model = ContextualModel.from_biencoder(folder, "whitening")
    assert_close(model.first_stage(IDS, MASK), states[:, 0], atol=1e-5, rtol=0)


def test_without_sentence_transformers_files_the_mean_is_pooled(folder):
    for name in ("modules.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    settings = read_biencoder(folder).settings
    assert settings["pooling"] == "mean"
    assert settings["max_length"] == 48, "as many tokens as the backbone has positions for"


def test_names_of_older_and_headed_checkpoints_are_understood(folder):
    weights = load_file(folder / "model.safetensors")
    old = {f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in weights.items()}
    old["bert.embeddings.position_ids"] = torch.arange(48)[None]
    old["cls.predictions.bias"] = torch.zeros(5)
    save_file(old, folder / "model.safetensors")
    expected = AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    found = read_biencoder(folder).weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, r"uses pooling \['pooling_mode_max_tokens'\]"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            r"supported are \['mean', 'cls'\]",
        ),
        ("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}], r"modules .*\['Dense'\]"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "lower-cases texts outside its tokenizer"),
    ],
)
def test_what_would_be_reproduced_wrongly_is_refused(folder, file, content, message):
    write(folder / file, content)
    with pytest.raises(CheckpointError, match=message):
        ContextualModel.from_biencoder(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing; weights are read from safetensors only"):
        ContextualModel.from_biencoder(folder)


def test_a_damaged_file_is_named(folder):
    (folder / "modules.json").write_text("[{")
    with pytest.raises(CheckpointError, match=r"modules.json is damaged"):
        ContextualModel.from_biencoder(folder)


def test_incomplete_weights_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing encoder.layer.1.output.dense.bias"):
        ContextualModel.from_biencoder(folder)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a readable bi-encoder"):
        ContextualModel.from_biencoder(tmp_path)


def test_a_name_out_of_reach_says_what_was_tried(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        CheckpointError, match="model 'nobody/nothing' was not found: it is neither a directory here nor a repo"
    ):
        ContextualModel.from_biencoder("nobody/nothing", cache_folder=tmp_path)


def test_the_seed_decides_what_the_biencoder_does_not_have(biencoder_folder):
    fingerprints = [ContextualModel.from_biencoder(biencoder_folder, "joint", seed=s).fingerprint() for s in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_loading_leaves_the_callers_random_state_alone(biencoder_folder):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    ContextualModel.from_biencoder(biencoder_folder, "joint")
    assert torch.equal(torch.rand(1), expected)
