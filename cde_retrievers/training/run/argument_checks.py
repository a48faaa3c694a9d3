"""What is wrong with training settings, before anything is loaded or computed."""

import math
from collections.abc import Sequence
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import SGD
from transformers import SchedulerType, get_scheduler
from transformers.integrations.integration_utils import get_available_reporting_integrations

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.batches.filtering import check_threshold

if TYPE_CHECKING:
    from cde_retrievers.training.run.arguments import TrainingConfig

SEVERAL = "ndcg@10"  # the mean over all evaluation folders
_CHOICES = {
    "batching": ("contextual", "random"),
    "packing": ("random", "tsp"),
    "context_from": ("batch", "domain"),
}
# The smallest value that makes sense; None is always allowed where it is the default.
_AT_LEAST = {
    "per_device_train_batch_size": 2,
    "cluster_size": 2,
    "hard_negatives": 0,
    "context_documents": 2,
    "chunk_size": 1,
    "lora_rank": 1,
    "gradient_accumulation_steps": 1,
}
_WITHIN = {
    "sequence_dropout": (0.0, 1.0),
    "lora_dropout": (0.0, 1.0),
}
_ABOVE_ZERO = ("learning_rate", "gate_learning_rate", "num_train_epochs", "temperature", "lora_alpha")
_ONLY_WITH = {
    "lora_alpha": "lora_rank",
    "lora_target_modules": "lora_rank",
    "lora_dropout": "lora_rank",
}
# Settings of the Trainer that a contrastive batch cannot follow: what they must be, and what to do in their place.
_FIXED: dict[str, tuple[Any, str]] = {
    "auto_find_batch_size": (False, "lower chunk_size, which bounds memory and leaves the batch as it is"),
    "label_smoothing_factor": (0.0, "raise the temperature"),
    "dataloader_drop_last": (True, "every contrastive batch is full; leave it True"),
    "push_to_hub": (False, "call encoder.push_to_hub(...) on the trained encoder"),
    "ignore_data_skip": (False, "a resumed run goes on with the next batch"),
    "remove_unused_columns": (False, "there are no columns; leave it False"),
    "fsdp": (None, "start plain data-parallel processes with torchrun; chunk_size and LoRA save memory"),
    "deepspeed": (None, "start plain data-parallel processes with torchrun; chunk_size and LoRA save memory"),
    "save_only_model": (False, "a checkpoint without the optimizer's state cannot be resumed; leave it False"),
    "train_sampling_strategy": ("random", "batching and packing say which pairs share a batch"),
    "data_seed": (None, "seed is the one of batches too"),
    "neftune_noise_alpha": (None, "a step is no language model's; leave it out"),
    "use_liger_kernel": (False, "its kernels are for language models; leave it False"),
    "include_num_input_tokens_seen": ("no", "the log has pairs_per_second; leave it out"),
}
_INSIDE_FLYTE = "flyte"  # known to transformers, but not by a package that could be looked for
# transformers ignores what these are given.
_WITHOUT_SETTINGS = (SchedulerType.CONSTANT, SchedulerType.CONSTANT_WITH_WARMUP)


def check_own_settings(config: "TrainingConfig") -> None:
    """Refuse impossible values of what is special to contextual training.

    Raises:
        ConfigurationError: says which, what was found and what is allowed.
    """
    if not config.output_dir:
        raise ConfigurationError("output_dir says where checkpoints and the trained model go; give a directory")
    if Path(config.output_dir).exists() and not Path(config.output_dir).is_dir():
        raise ConfigurationError(f"output_dir {config.output_dir} is a file; give the path of a directory")
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ConfigurationError(f"{name} is {getattr(config, name)!r}; use one of {', '.join(choices)}")
    for name, least in _AT_LEAST.items():
        _check_whole_number(name, getattr(config, name), least)
    _check_ranges(config)
    _check_finite(config)
    if config.max_steps == 0:
        raise ConfigurationError("max_steps is 0, which trains nothing; give a number above 0, or leave it out")
    check_threshold(_number("false_negative_threshold", config.false_negative_threshold))
    _check_collection("matryoshka_dimensions", config.matryoshka_dimensions, int, "(64, 128)")
    _check_collection("lora_target_modules", config.lora_target_modules, str, '("query", "value")')
    for name, other in _ONLY_WITH.items():
        if getattr(config, name) and getattr(config, other) is None:
            raise ConfigurationError(f"{name} says nothing without {other}; set {other}, or leave {name} out")
    _check_evaluation(config)


def check_trainer_settings(config: "TrainingConfig") -> None:
    """Refuse settings of transformers' Trainer that would be ignored or would change what a batch is.

    Raises:
        ConfigurationError: says which, and what to use in its place.
    """
    for name, (fixed, way_out) in _FIXED.items():
        if getattr(config, name) != fixed and (fixed is not None or getattr(config, name)):
            raise ConfigurationError(f"{name}={getattr(config, name)!r} is not available here: {way_out}")
    if config.n_gpu > 1:
        raise ConfigurationError(
            f"one process sees {config.n_gpu} GPUs and cannot share a contrastive batch among them; start one process "
            f"per GPU with torchrun --nproc_per_node {config.n_gpu}, or set CUDA_VISIBLE_DEVICES to one"
        )
    _check_schedule(config)
    _check_best(config)
    _check_reports(config)


def _check_schedule(config: "TrainingConfig") -> None:
    """Raise ConfigurationError if the schedule does not take its settings: the Trainer makes it at the first step."""
    kind, settings = SchedulerType(config.lr_scheduler_type), config.lr_scheduler_kwargs or {}
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=config.learning_rate)
    try:
        # Without a step of warm-up, so that the part that reads the settings is computed too.
        get_scheduler(kind, optimizer, 0, 2, settings)  # type: ignore[arg-type]
        if settings and kind in _WITHOUT_SETTINGS:
            raise ValueError("it has no settings")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"lr_scheduler_kwargs is {settings}, which does not fit the schedule {kind.value}: {error}; "
            f"change lr_scheduler_kwargs, or lr_scheduler_type"
        ) from error


def _check_whole_number(name: str, value: Any, least: int) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number of at least {least}")


def _number(name: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, Real) or isinstance(value, bool)):
        raise ConfigurationError(f"{name} is {value!r}; give a number")
    return value


def _check_collection(name: str, values: Any, kind: type, example: str) -> None:
    """Raise ConfigurationError if it is not None, and no list or tuple of that kind."""
    if values is None:
        return
    if not isinstance(values, list | tuple) or not all(type(value) is kind for value in values):
        raise ConfigurationError(f"{name} is {values!r}; give a tuple such as {example}, or leave it out")


def _check_ranges(config: "TrainingConfig") -> None:
    for name, (low, high) in _WITHIN.items():
        value = _number(name, getattr(config, name))
        if value is not None and not low <= value <= high:
            raise ConfigurationError(f"{name} is {value}; it must lie between {low:g} and {high:g}")
    for name in _ABOVE_ZERO:
        value = _number(name, getattr(config, name))
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"{name} is {value}; it must be above 0")


def _check_finite(config: "TrainingConfig") -> None:
    for field in fields(config):
        value = getattr(config, field.name, None)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"{field.name} is {value}; give a number that is finite")


def _check_evaluation(config: "TrainingConfig") -> None:
    if isinstance(config.evaluation, str | Path):
        config.evaluation = (str(config.evaluation),)
    config.evaluation = tuple(str(folder) for folder in config.evaluation)
    config.matryoshka_dimensions = tuple(config.matryoshka_dimensions)
    names = [Path(folder).name for folder in config.evaluation]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"evaluation folders must have different names, found {names}; rename one")
    for folder in config.evaluation:
        if not Path(folder).is_dir():
            raise ConfigurationError(f"the evaluation folder {folder} does not exist; give one in BEIR's layout")
    strategies = [str(getattr(each, "value", each)) for each in (config.eval_strategy, config.save_strategy)]
    wanted = strategies[0] != "no" or strategies[1] == "best" or config.load_best_model_at_end or config.eval_on_start
    if wanted and not config.evaluation:
        raise ConfigurationError(
            "evaluation during training needs something to search in; name BEIR folders in evaluation=(...), or leave "
            "eval_strategy, eval_on_start and load_best_model_at_end out"
        )


def _check_best(config: "TrainingConfig") -> None:
    """Raise ConfigurationError if the best weights are to be known by a figure that no evaluation gives."""
    names = figure_names([Path(folder).name for folder in config.evaluation])
    metric = config.metric_for_best_model
    if metric is not None and metric.removeprefix("eval_") not in names:
        raise ConfigurationError(f"metric_for_best_model is {metric!r}; use one of {', '.join(names)}")
    if config.greater_is_better is False:
        raise ConfigurationError("greater_is_better is False, but a higher nDCG@10 is the better one; leave it out")


def _check_reports(config: "TrainingConfig") -> None:
    """Raise ConfigurationError if somebody is to be reported to who is unknown or not installed."""
    there = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in config.report_to or ():
        if name not in (*there, _INSIDE_FLYTE):
            known = ", ".join(there) or "none"
            raise ConfigurationError(
                f"report_to names {name!r}, which transformers does not know or find installed (it finds {known}); "
                f"install it, or leave report_to out: the log is in output_dir anyway"
            )


def figure_names(sets: Sequence[str]) -> list[str]:
    """What evaluation on sets of these names gives: the mean, and where there are several sets, a figure for each."""
    return [SEVERAL, *(f"{name}_{SEVERAL}" for name in sets if len(sets) > 1)]
