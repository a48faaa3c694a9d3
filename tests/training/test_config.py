"""Settings are refused before any work, with what to do about it."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from cde_retrievers.errors import ConfigurationError, MissingDependencyError
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.util import imports as optional


def test_all_settings_of_transformers_are_there_under_their_names():
    assert {field.name for field in fields(TrainingArguments)} < {field.name for field in fields(TrainingConfig)}


def test_defaults_are_for_this_work(tmp_path):
    config = TrainingConfig(output_dir=str(tmp_path))
    assert (config.learning_rate, config.lr_scheduler_type, config.weight_decay) == (2e-5, "linear", 0)
    assert config.report_to == []
    assert config.cache == tmp_path / "cache"
    assert config.global_batch_size == 64 * config.world_size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_dir": None}, r"output_dir is required"),
        ({"output_dir": ""}, r"output_dir is required"),
        ({"batching": "hard"}, r"batching is 'hard'; it must be 'contextual' or 'random'"),
        ({"context_from": "corpus"}, r"context_from is 'corpus'; it must be 'batch' or 'domain'"),
        ({"per_device_train_batch_size": 1}, r"batch_size is 1; it must be greater than or equal to 2"),
        ({"cluster_size": 2.5}, r"cluster_size is 2.5; it must be a valid integer"),
        ({"chunk_size": 0}, r"chunk_size is 0"),
        ({"hard_negatives": -1}, r"hard_negatives is -1"),
        ({"false_negative_threshold": 1.5}, r"false_negative_threshold is 1.5; it must be less than or equal to 1"),
        ({"sequence_dropout": 2.0}, r"sequence_dropout is 2.0; it must be less than or equal to 1"),
        ({"lora_alpha": 8.0}, r"lora_alpha has no effect without lora_rank"),
        ({"batching": "random", "cluster_size": 8}, r"cluster_size has no effect without batching='contextual'"),
        (
            {"batching": "random", "false_negative_threshold": None, "surrogate": "minilm"},
            r"surrogate has no effect without batching='contextual' or a false_negative_threshold",
        ),
        ({"evaluation_split": "dev"}, r"evaluation_split has no effect without evaluation"),
        ({"auto_find_batch_size": True}, r"lower chunk_size, which bounds memory"),
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0.1 is not available here"),
        ({"dataloader_drop_last": False}, r"every contrastive batch is full"),
        ({"push_to_hub": True}, r"encoder.push_to_hub"),
        ({"save_only_model": True}, r"cannot be resumed"),
        ({"eval_strategy": "epoch"}, r"name BEIR folders in evaluation"),
        ({"load_best_model_at_end": True}, r"name BEIR folders in evaluation"),
        ({"evaluation": ("nowhere",)}, r"evaluation folder nowhere does not exist"),
        ({"evaluation": ("a/one", "b/one")}, r"must have different names"),
        ({"lr_scheduler_type": "lineal"}, r"transformers refuses the training arguments"),
        (
            {"lr_scheduler_kwargs": {"nobody": 1}},
            r"lr_scheduler_kwargs is \{'nobody': 1\}, which does not fit the schedule linear",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, r"does not fit the schedule cosine_with_min_lr: .*min_lr"),
        (
            {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": "a"}},
            r"does not fit the schedule polynomial: .*; change lr_scheduler_kwargs, or lr_scheduler_type",
        ),
        (
            {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"nobody": 1}},
            r"does not fit the schedule constant: it has no settings",
        ),
        ({"output_dir": __file__}, r"test_config.py is a file; give the path of a directory"),
        ({"num_train_epochs": 0}, r"num_train_epochs is 0; it must be greater than 0"),
        ({"num_train_epochs": float("nan")}, r"num_train_epochs is nan; it must be a finite number"),
        ({"max_steps": 0}, r"max_steps is 0, which trains nothing"),
        ({"learning_rate": -1e-5}, r"learning_rate is -1e-05; it must be greater than 0"),
        ({"learning_rate": "1e-5"}, r"learning_rate is '1e-5'; it must be a valid number"),
        ({"temperature": "0.02"}, r"temperature is '0.02'; it must be a valid number"),
        ({"false_negative_threshold": "1"}, r"false_negative_threshold is '1'; it must be a valid number"),
        ({"matryoshka_dimensions": (8, 0)}, r"it must be greater than or equal to 1"),
        ({"chunk_size": True}, r"chunk_size is True; it must be a valid integer"),
        ({"save_steps": "often"}, r"save_steps is 'often'; it must be a valid number"),
        ({"max_steps": 2.5}, r"max_steps is 2.5; it must be a valid integer"),
        ({"gradient_accumulation_steps": 0}, r"gradient_accumulation_steps is 0"),
        ({"matryoshka_dimensions": 64}, r"matryoshka_dimensions is 64; it must be a valid tuple"),
        ({"matryoshka_dimensions": "64"}, r"matryoshka_dimensions is '64'; it must be a valid tuple"),
        ({"lora_rank": 2, "lora_target_modules": "query"}, r"lora_target_modules is 'query'; it must be a valid tuple"),
        ({"eval_on_start": True}, r"name BEIR folders in evaluation"),
        ({"metric_for_best_model": "loss"}, r"metric_for_best_model is 'loss'; use one of ndcg@10"),
        ({"greater_is_better": False}, r"a higher nDCG@10 is better"),
        ({"report_to": "nobody"}, r"report_to names 'nobody', which is unknown to transformers"),
        ({"neftune_noise_alpha": 5.0}, r"neftune_noise_alpha=5.0 is not available here"),
        ({"use_liger_kernel": True}, r"its kernels are for language models"),
        ({"data_seed": 7}, r"seed is also the seed of the batches"),
        ({"train_sampling_strategy": "group_by_length"}, r"batching decides which pairs"),
        ({"include_num_input_tokens_seen": True}, r"the log has pairs_per_second"),
    ],
)
def test_an_impossible_setting_is_refused(tmp_path, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfig(**{"output_dir": str(tmp_path), "use_cpu": True, **settings})


def test_evaluation_folders_are_evaluated_each_epoch_unless_told_otherwise(tmp_path):
    config = TrainingConfig(output_dir=str(tmp_path / "run"), evaluation=tmp_path, use_cpu=True)
    assert config.evaluation == (str(tmp_path),)
    assert config.eval_strategy == "epoch"
    every = TrainingConfig(output_dir=str(tmp_path / "run"), evaluation=tmp_path, eval_strategy="steps", eval_steps=5)
    assert every.eval_strategy == "steps"


def test_with_the_best_weights_asked_for_each_evaluation_has_its_checkpoint(tmp_path):
    best = {"output_dir": str(tmp_path / "run"), "evaluation": tmp_path, "load_best_model_at_end": True}
    config = TrainingConfig(**best, use_cpu=True)
    assert (config.eval_strategy, config.save_strategy) == ("epoch", "epoch")
    with pytest.raises(ConfigurationError, match=r"requires the save and eval strategy to match"):
        TrainingConfig(**best, save_steps=7)  # as told


def test_the_best_weights_may_be_those_by_one_of_several_folders(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    settings = {"output_dir": str(tmp_path / "run"), "evaluation": folders}
    TrainingConfig(**settings, metric_for_best_model="eval_two_ndcg@10")
    with pytest.raises(ConfigurationError, match=r"use one of ndcg@10, one_ndcg@10, two_ndcg@10"):
        TrainingConfig(**settings, metric_for_best_model="three_ndcg@10")


def test_unknown_names_are_refused_with_similar_ones(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'learning_rat' is unknown; similar ones are learning_rate"):
        TrainingConfig.from_dict({"output_dir": str(tmp_path), "learning_rat": 1e-4})
    with pytest.raises(ConfigurationError, match=r"'zzz' is unknown; similar ones are batching, cache_folder"):
        TrainingConfig.from_dict({"output_dir": str(tmp_path), "zzz": 1})


@pytest.mark.parametrize(
    "wrong",
    [{"num_train_epochs": "abc"}, {"temperature": "hot"}, {"max_steps": 2.5}, {"matryoshka_dimensions": 5}],
    ids=str,
)
def test_a_value_of_another_type_is_refused(wrong, tmp_path):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"training setting {name} is .*; change it, or leave it out"):
        TrainingConfig.from_dict({"output_dir": str(tmp_path), **wrong})


def test_plain_values_become_what_they_stand_for(tmp_path):
    config = TrainingConfig.from_dict({"output_dir": str(tmp_path), "matryoshka_dimensions": [8, 16]})
    assert config.matryoshka_dimensions == (8, 16)
    config = TrainingConfig.from_dict({"output_dir": str(tmp_path / "run"), "evaluation": str(tmp_path)})
    assert config.evaluation == (str(tmp_path),)
    for resume in (True, "run/checkpoint-3"):
        config = TrainingConfig.from_dict({"output_dir": str(tmp_path), "resume_from_checkpoint": resume})
        assert config.resume_from_checkpoint == resume


def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "accelerate" else name)
    with pytest.raises(MissingDependencyError, match=r"needs accelerate: pip install 'cde-retrievers\[train\]'"):
        TrainingConfig(output_dir=str(tmp_path))
