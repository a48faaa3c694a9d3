"""Low-rank adapters instead of full fine-tuning, by peft."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.util.imports import imported, require

if TYPE_CHECKING:
    from cde_retrievers.training.config import TrainingConfig


class Adapters:
    """Adapters in the backbones of a model. Weights outside them (gate, projections, null vector) are trained fully.

    Args:
        model: changed in place.
        config: has rank, scale, dropout and layers.
        first_stage: whether the first stage is trained too and gets adapters.

    Raises:
        ConfigurationError: the backbone has no such layers.
        MissingDependencyError: peft is not installed; names the extra.
    """

    def __init__(self, model: ContextualModel, config: "TrainingConfig", first_stage: bool) -> None:
        peft = imported("peft", "LoRA", extra="train")
        settings = peft.LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * int(config.lora_rank or 0) if config.lora_alpha is None else config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="all-linear" if config.lora_target_modules is None else list(config.lora_target_modules),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            try:
                self._tuners = [peft.LoraModel(each, settings, "default") for each in _backbones(model, first_stage)]
            except ValueError as error:
                raise ConfigurationError(
                    f"peft finds no layer for the adapters ({error}); change lora_target_modules"
                ) from error

    def merge(self) -> None:
        """Merge the adapters into the backbones' weights, and remove them."""
        for tuner in self._tuners:
            tuner.merge_and_unload(safe_merge=True)


def check_lora(config: "TrainingConfig") -> None:
    """Raise MissingDependencyError if `config` has a `lora_rank` and peft is not installed."""
    if config.lora_rank is not None:
        require("peft", "LoRA", extra="train")


def _backbones(model: ContextualModel, first_stage: bool) -> Iterator[PreTrainedModel]:
    """The backbones to train, each once: under whitening both stages share one."""
    stages: list[nn.Module] = [model.second_stage, *([model.first_stage] if first_stage else [])]
    found: dict[int, Any] = {id(part): part for stage in stages for part in stage.modules()}
    return (part for part in found.values() if isinstance(part, PreTrainedModel))
