"""Settings of transformers' Trainer that contextual training does not support, refused before anything is loaded."""

from typing import Any

import torch
from torch.optim import SGD
from transformers import SchedulerType, TrainingArguments, get_scheduler
from transformers.integrations.integration_utils import get_available_reporting_integrations

from cde_retrievers.errors import ConfigurationError, shown

# The value that a setting must have, and what to do instead.
_FIXED: dict[str, tuple[Any, str]] = {
    "auto_find_batch_size": (False, "lower chunk_size, which bounds memory and leaves the batch as it is"),
    "label_smoothing_factor": (0.0, "raise the temperature"),
    "dataloader_drop_last": (True, "every contrastive batch is full; leave it True"),
    "push_to_hub": (False, "call encoder.push_to_hub(...) on the trained encoder"),
    "ignore_data_skip": (False, "a resumed run continues with the next batch"),
    "remove_unused_columns": (False, "batches have no columns; leave it False"),
    "fsdp": (None, "start plain data-parallel processes with torchrun; chunk_size and LoRA save memory"),
    "deepspeed": (None, "start plain data-parallel processes with torchrun; chunk_size and LoRA save memory"),
    "save_only_model": (False, "a checkpoint without the optimizer's state cannot be resumed; leave it False"),
    "train_sampling_strategy": ("random", "batching decides which pairs share a batch"),
    "data_seed": (None, "seed is also the seed of the batches"),
    "neftune_noise_alpha": (None, "it is for language models; leave it out"),
    "use_liger_kernel": (False, "its kernels are for language models; leave it False"),
    "include_num_input_tokens_seen": ("no", "the log has pairs_per_second; leave it out"),
}
_INSIDE_FLYTE = "flyte"  # known to transformers, but without a package to look for
# Schedules whose settings transformers ignores.
_WITHOUT_SETTINGS = (SchedulerType.CONSTANT, SchedulerType.CONSTANT_WITH_WARMUP)


def check_trainer_settings(arguments: TrainingArguments) -> None:
    """Refuse settings that would be ignored or would change the batches.

    Raises:
        ConfigurationError: a setting is not supported; names it, and what to use instead.
    """
    for name, (fixed, way_out) in _FIXED.items():
        value = getattr(arguments, name)
        if value != fixed and (fixed is not None or value):
            raise ConfigurationError(f"{name}={shown(value)} is not available here: {way_out}")
    if arguments.n_gpu > 1:
        raise ConfigurationError(
            f"one process sees {arguments.n_gpu} GPUs and cannot share a contrastive batch among them; start one "
            f"process per GPU with torchrun --nproc_per_node {arguments.n_gpu}, or set CUDA_VISIBLE_DEVICES to one"
        )
    if arguments.greater_is_better is False:
        raise ConfigurationError("greater_is_better is False, but a higher nDCG@10 is better; leave it out")
    _check_schedule(arguments)
    _check_reports(arguments)


def _check_schedule(arguments: TrainingArguments) -> None:
    """Raise ConfigurationError if the schedule refuses its settings; the Trainer would fail at the first step."""
    kind, settings = SchedulerType(arguments.lr_scheduler_type), arguments.lr_scheduler_kwargs or {}
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=arguments.learning_rate)
    try:
        # Without warm-up steps, so that the part that reads the settings runs.
        get_scheduler(kind, optimizer, 0, 2, settings)  # type: ignore[arg-type]
        if settings and kind in _WITHOUT_SETTINGS:
            raise ValueError("it has no settings")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"lr_scheduler_kwargs is {settings}, which does not fit the schedule {kind.value}: {error}; "
            f"change lr_scheduler_kwargs, or lr_scheduler_type"
        ) from error


def _check_reports(arguments: TrainingArguments) -> None:
    """Raise ConfigurationError if a service in `report_to` is unknown or not installed."""
    there = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in arguments.report_to or ():
        if name not in (*there, _INSIDE_FLYTE):
            known = ", ".join(there) or "none"
            raise ConfigurationError(
                f"report_to names {name!r}, which is unknown to transformers or not installed (it finds {known}); "
                f"install it, or leave report_to out: the log is in output_dir anyway"
            )
