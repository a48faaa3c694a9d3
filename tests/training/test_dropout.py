"""Training without dropout."""

import pytest
import torch
from runs import PAIRS, same_weights, small_config
from tiny import CORPUS, build_tokenizer
from transformers import ModernBertConfig, ModernBertModel, NomicBertConfig, NomicBertModel

from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.training.run import train
from cde_retrievers.training.trainable_model import TrainableModel, disable_dropout

SIZES = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}
OTHERS = {
    "nomic_bert": lambda: NomicBertModel(
        NomicBertConfig(**SIZES, intermediate_size=256, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    ),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**SIZES, intermediate_size=64, embedding_dropout=0.1, mlp_dropout=0.1, attention_dropout=0.1)
    ),
}


def test_a_model_gives_the_same_twice(conditioning, make_encoder, tmp_path):
    ids, mask = TextTokenizer(build_tokenizer(), 32, 0).pad(TextTokenizer(build_tokenizer(), 32, 0).encode(CORPUS[:4]))
    context = torch.randn(16, 32)
    for without in (False, True):
        model = TrainableModel.of(
            make_encoder(conditioning), small_config(tmp_path, disable_dropout=without)
        ).module.model
        stage = model.train().second_stage
        assert (not torch.equal(stage(ids, mask, context), stage(ids, mask, context))) is not without


@pytest.mark.parametrize("family", OTHERS)
def test_attention_of_other_families_has_none_either(family):
    model = OTHERS[family]().train()
    ids = torch.arange(5, 17)[None]
    assert not torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)
    disable_dropout(model)
    assert torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)


def test_the_trained_model_keeps_its_settings_and_learns_otherwise(make_encoder, tmp_path):
    encoder = make_encoder("cached")
    with_it, without = (
        train(encoder, PAIRS, small_config(tmp_path / str(off), num_train_epochs=1, disable_dropout=off)).encoder
        for off in (False, True)
    )
    assert without.config == encoder.config
    assert not same_weights(with_it, without)
