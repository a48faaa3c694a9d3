"""Adapters in place of full fine-tuning."""

import pytest
import torch
from runs import PAIRS, small_config
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, MissingDependencyError
from cde_retrievers.training.run import train
from cde_retrievers.training.trainable_model import TrainableModel
from cde_retrievers.util import imports as optional


def spoil_adapters(module):
    """Adapters start by adding nothing; give them values that change every embedding."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "lora_" in name:
                weight.add_(0.2 * torch.randn(weight.shape, generator=generator))


def embeddings(model, encoder):
    ids = encoder.tokenize(QUERIES)
    with torch.no_grad():
        vectors = model.first_stage(*encoder.tokenize(CORPUS))
        return model.second_stage(*ids, vectors)


@pytest.mark.parametrize("first_stage", [False, True])
def test_merged_adapters_embed_as_they_did_apart(make_encoder, conditioning, first_stage, tmp_path):
    encoder = make_encoder(conditioning)
    trained = True if conditioning == "whitening" else first_stage
    trainable = TrainableModel.of(
        encoder, small_config(tmp_path, lora_rank=4, lora_dropout=0.3, train_first_stage=trained)
    )
    module = trainable.module.eval()
    spoil_adapters(module)
    apart = embeddings(module.model, encoder)
    assert not torch.allclose(apart, embeddings(encoder.model, encoder), atol=1e-2)
    merged = trainable.finished()
    torch.testing.assert_close(embeddings(merged, encoder), apart, atol=1e-5, rtol=1e-5)
    assert merged.state_dict().keys() == encoder.model.state_dict().keys()


def test_the_saved_model_is_an_ordinary_one(make_encoder, tmp_path):
    encoder = make_encoder("cached")
    result = train(encoder, PAIRS, small_config(tmp_path, lora_rank=2, num_train_epochs=1))
    loaded = ContextualEncoder.from_pretrained(result.model_path, device="cpu", dtype="float32")
    assert loaded.model.state_dict().keys() == encoder.model.state_dict().keys()
    assert loaded.fingerprint == result.encoder.fingerprint != encoder.fingerprint


def test_only_adapters_and_what_conditions_on_the_context_are_trained(make_encoder, tmp_path):
    trainable = TrainableModel.of(make_encoder("cached"), small_config(tmp_path, lora_rank=2))
    trained = {name for name, weight in trainable.module.named_parameters() if weight.requires_grad}
    of_backbone = {name for name in trained if ".backbone." in name}
    assert of_backbone
    assert all("lora_" in name for name in of_backbone)
    assert {name.removeprefix("model.second_stage.") for name in trained - of_backbone} == {
        *("gate", "context_projection.weight", "context_projection.bias")
    }
    assert not [name for name in trained if "first_stage" in name]


def test_layers_can_be_named_and_their_scale(make_encoder, tmp_path):
    config = small_config(tmp_path, lora_rank=2, lora_alpha=3.0, lora_target_modules=("query", "value"))
    trainable = TrainableModel.of(make_encoder("joint"), config)
    layers = {name.split(".lora_A")[0] for name, _ in trainable.module.named_modules() if ".lora_A" in name}
    assert {name.rsplit(".", 1)[-1] for name in layers} == {"query", "value"}
    adapted = [layer for layer in trainable.module.modules() if hasattr(layer, "lora_A")]
    assert {layer.scaling["default"] for layer in adapted} == {1.5}


def test_layers_that_do_not_exist_are_refused(make_encoder, tmp_path):
    config = small_config(tmp_path, lora_rank=2, lora_target_modules=("nowhere",))
    with pytest.raises(ConfigurationError, match=r"peft finds no layer for the adapters"):
        TrainableModel.of(make_encoder("joint"), config)


def test_missing_peft_is_named_with_the_extra(make_encoder, tmp_path, monkeypatch):
    config = small_config(tmp_path, lora_rank=2)
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "peft" else name)
    with pytest.raises(MissingDependencyError, match=r"LoRA needs peft: pip install 'cde-retrievers\[train\]'"):
        train(make_encoder("joint"), PAIRS, config)
