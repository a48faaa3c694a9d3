"""From the options of `train` to a `TrainingConfig`. Loads torch; import it in a command only."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer import BadParameter

from cde_retrievers.cli.training_options import BaseModelOptions, TrainingOptions
from cde_retrievers.training.config import TrainingConfig

# The option that stands for a field.
_OPTIONS = {
    "num_train_epochs": "--epochs",
    "per_device_train_batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "batching": "--batching",
    "lora_rank": "--lora-rank",
    "bf16": "--dtype",
    "evaluation": "--evaluate",
    "use_cpu": "--device",
    "output_dir": "--out",
    "disable_tqdm": "--no-progress",
}
_KEPT_CHECKPOINTS = 2
_EVALUATED = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "load_best_model_at_end": True,
    "eval_on_start": True,
}


def training_config(
    out: Path, model: BaseModelOptions, options: TrainingOptions, show_progress: bool | None
) -> TrainingConfig:
    """The configuration that the options ask for.

    Raises:
        BadParameter: a setting is no NAME=VALUE, or an option says the same.
        ConfigurationError: a name is unknown, or a value is impossible.
    """
    chosen = {
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "batching": options.batching,
        "lora_rank": options.lora_rank,
        "bf16": options.dtype and options.dtype == "bfloat16",
        "evaluation": tuple(map(str, options.evaluate)) if options.evaluate else None,
        "use_cpu": model.device == "cpu" or None,
        "output_dir": str(out),
        "disable_tqdm": None if show_progress is None else not show_progress,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    settings = read_settings(options.setting or [])
    for name in sorted(given.keys() & settings.keys()):
        raise BadParameter(f"{name} is what {_OPTIONS[name]} says; leave one of them out", param_hint="--setting")
    defaults = {"save_total_limit": _KEPT_CHECKPOINTS}
    evaluated = _EVALUATED if "evaluation" in {*given, *settings} else {}
    return TrainingConfig.from_dict({**defaults, **evaluated, **given, **settings})


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE, each value as TOML has it, None, or else as text.

    Raises:
        BadParameter: a text is no NAME=VALUE, or a name comes twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadParameter(f"{text!r} is no NAME=VALUE; write it as in seed=7", param_hint="--setting")
        name = name.strip()
        if name in settings:
            raise BadParameter(f"{name} is given twice; leave one of them out", param_hint="--setting")
        settings[name] = _toml_or_text(value)
    return settings


def _toml_or_text(text: str) -> Any:
    if text.strip() == "None":  # which TOML has no word for
        return None
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # a number may be too long, and brackets too many
        return text
    return table["value"] if len(table) == 1 else text
