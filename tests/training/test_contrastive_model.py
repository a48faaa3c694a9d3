"""One step as a module: what it takes, what it gives, and what it refuses."""

import pytest
import torch
from steps import gradients_of, make_step
from torch.testing import assert_close
from transformers import Trainer, TrainingArguments

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.model.config import CachedConditioning, JointConditioning, WhiteningConditioning
from cde_retrievers.training.contrastive_model import ContrastiveModel
from cde_retrievers.training.losses.contrastive import ContrastiveLoss
from cde_retrievers.training.losses.two_stage import two_stage_embeddings

PLAIN = WhiteningConditioning(power=0)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_it_is_the_loss_of_both_stages_embeddings(chunk_size, conditioning, make_model):
    model, step = make_model(conditioning), make_step(slice(0, 6))
    step["excluded"][0, 3] = True
    vectors = model.first_stage(step["context_input_ids"], step["context_attention_mask"])
    embeddings = [
        model.second_stage(step[f"{name}_input_ids"], step[f"{name}_attention_mask"], vectors)
        for name in ("query", "document")
    ]
    expected = ContrastiveLoss()(*embeddings, step["excluded"])
    report = ContrastiveModel(model, chunk_size=chunk_size).eval()(**step)
    assert_close(report["loss"], expected.loss)
    assert_close(report["accuracy"], expected.accuracy)
    assert_close(report["masked_share"], expected.masked_share)
    assert report["loss"].requires_grad
    assert not report["accuracy"].requires_grad


@pytest.mark.parametrize("conditioning", [WhiteningConditioning(power=0.5), PLAIN], ids=["whitened", "plain"])
def test_whitening_trains_the_path_of_the_texts(conditioning, make_model):
    model = ContrastiveModel(make_model(conditioning), chunk_size=4)
    context = slice(3, 10) if conditioning.power else None
    found = gradients_of(model, make_step(slice(0, 6), context=context))
    assert found["model.first_stage.backbone.encoder.layer.0.output.dense.weight"].any()


def test_whitening_takes_the_context_for_a_constant(make_model):
    model = make_model("whitening")
    vectors = torch.randn(6, 32, requires_grad=True)
    prepared = model.second_stage.prepare(vectors)
    assert not prepared.mean.requires_grad
    assert not prepared.matrix.requires_grad
    tokens = make_step(slice(0, 4))
    recorded = []
    model.first_stage.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    batches = [(tokens[f"{name}_input_ids"], tokens[f"{name}_attention_mask"]) for name in ("query", "context")]
    two_stage_embeddings(model, batches[:1], batches[1], chunk_size=None)
    assert recorded == [False, True]


def test_sequence_dropout_is_for_training_only(make_model):
    model = ContrastiveModel(make_model(JointConditioning(null_vector=True)), sequence_dropout=0.9)
    step = make_step(slice(0, 6))
    model.eval()
    assert torch.equal(model(**step)["loss"], model(**step)["loss"])
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    for name in ("first_stage", "second_stage"):
        getattr(model.model, name).backbone.eval()
    assert not torch.equal(model(**step)["loss"], model(**step)["loss"])


@pytest.mark.parametrize("kind", [JointConditioning, CachedConditioning])
def test_a_null_vector_that_no_text_sees_is_not_trained(kind, make_model):
    model = ContrastiveModel(make_model(kind(null_vector=True)))
    assert not model.model.second_stage.null_vector.requires_grad
    model = ContrastiveModel(make_model(kind(null_vector=True)), sequence_dropout=0.1)
    assert model.model.second_stage.null_vector.requires_grad


def test_a_frozen_first_stage_stays_in_evaluation_mode(make_model):
    model = ContrastiveModel(make_model("joint"), train_first_stage=False).train()
    assert not model.model.first_stage.backbone.training
    assert model.model.second_stage.backbone.training
    assert ContrastiveModel(make_model("joint")).train().model.first_stage.backbone.training


@pytest.mark.parametrize(
    ("conditioning", "settings", "message"),
    [
        ("joint", {"chunk_size": 0}, r"chunk_size must be at least 1, found 0"),
        ("joint", {"sequence_dropout": 1.5}, r"sequence_dropout must be a probability"),
        ("joint", {"sequence_dropout": 0.1}, r"no null vector.*null_vector=True"),
        ("whitening", {"train_first_stage": False}, r"nothing would be left to train"),
        ("joint", {"loss": ContrastiveLoss(matryoshka_dims=(64, 32))}, r"matryoshka_dims has 64"),
    ],
)
def test_impossible_settings_are_refused(conditioning, settings, message, make_model):
    with pytest.raises(ConfigurationError, match=message):
        ContrastiveModel(make_model(conditioning), **settings)


def test_a_refused_model_is_left_as_it_was(make_model):
    model = make_model("whitening")
    with pytest.raises(ConfigurationError):
        ContrastiveModel(model, train_first_stage=False)
    assert all(parameter.requires_grad for parameter in model.parameters())


def without(step, *names):
    return {name: tensor for name, tensor in step.items() if name not in names}


def test_the_context_is_given_once(make_model):
    model, step = ContrastiveModel(make_model("joint")), make_step(slice(0, 4))
    with pytest.raises(TrainingDataError, match=r"found 2 of them"):
        model(**step, context_vectors=torch.zeros(5, 32))
    with pytest.raises(TrainingDataError, match=r"found 0 of them"):
        model(**without(step, "context_input_ids", "context_attention_mask"))
    with pytest.raises(TrainingDataError, match=r"go together"):
        model(**without(step, "context_attention_mask"))
    with pytest.raises(ConfigurationError, match=r"context vectors must be"):
        model(**without(step, "context_input_ids", "context_attention_mask"), context_vectors=torch.zeros(5, 31))


def test_a_loss_that_is_no_number_is_handed_on(make_model):
    model, step = make_model(PLAIN), make_step(slice(0, 4), context=None)
    with torch.no_grad():
        model.first_stage.backbone.embeddings.word_embeddings.weight.fill_(float("nan"))
    assert ContrastiveModel(model)(**step)["loss"].isnan()


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trainer_of_transformers_trains_it_as_it_is(checkpointing, make_model, tmp_path):
    steps = [make_step(slice(i, i + 5)) for i in (0, 5, 10, 15)]
    arguments = TrainingArguments(
        tmp_path, max_steps=1, gradient_accumulation_steps=4, per_device_train_batch_size=1, learning_rate=1e-3,
        lr_scheduler_type="constant", optim="sgd", max_grad_norm=0, report_to="none", save_strategy="no", use_cpu=True,
        remove_unused_columns=False, disable_tqdm=True, activation_checkpointing=checkpointing,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trained = without_dropout(ContrastiveModel(make_model("cached"), chunk_size=2))
    Trainer(trained, arguments, train_dataset=steps, data_collator=lambda batch: batch[0]).train()
    expected = without_dropout(ContrastiveModel(make_model("cached")))
    for step in steps:
        (expected(**step)["loss"] / len(steps)).backward()
    torch.optim.SGD(expected.parameters(), lr=1e-3).step()
    start = dict(make_model("cached").named_parameters())
    for name, parameter in trained.model.named_parameters():
        assert_close(parameter, expected.model.get_parameter(name), atol=1e-6, rtol=0)
    assert not torch.equal(trained.model.second_stage.gate, start["second_stage.gate"])
