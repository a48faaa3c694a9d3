"""The model of a run: a copy of an encoder's model, under its loss, with adapters for LoRA."""

from dataclasses import dataclass

from torch import nn

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.contrastive_model import ContrastiveModel
from cde_retrievers.training.lora import Adapters, check_lora
from cde_retrievers.training.losses.contrastive import ContrastiveLoss
from cde_retrievers.training.optimizer import check_gate_learning_rate

# NomicBERT and ModernBERT keep the dropout probability of attention as a number, not in a module.
_FOR_ATTENTION = "attention_dropout"


@dataclass(frozen=True, slots=True)
class TrainableModel:
    """The model to train.

    Attributes:
        module: for the Trainer.
        adapters: None for full fine-tuning.
    """

    module: ContrastiveModel
    adapters: Adapters | None

    @classmethod
    def of(cls, encoder: ContextualEncoder, config: TrainingConfig) -> "TrainableModel":
        """A copy of the encoder's model, ready for training; the encoder is not changed.

        Raises:
            ConfigurationError: a setting does not fit the model.
            MissingDependencyError: `config` asks for adapters, and peft is not installed.
        """
        check_lora(config)
        model = encoder.copy_model().float()
        if config.disable_dropout:
            disable_dropout(model)
        check_gate_learning_rate(model, config.gate_learning_rate)
        first_stage = trains_first_stage(model, config)
        loss = ContrastiveLoss(temperature=config.temperature, matryoshka_dims=config.matryoshka_dimensions)
        module = ContrastiveModel(
            model,
            loss,
            chunk_size=config.chunk_size,
            sequence_dropout=config.sequence_dropout,
            train_first_stage=first_stage,
        )
        return cls(module, None if config.lora_rank is None else Adapters(model, config, first_stage))

    def finished(self) -> ContextualModel:
        """The trained model, with adapters merged and nothing frozen."""
        if self.adapters is not None:
            self.adapters.merge()
        return self.module.model.requires_grad_(True).eval()


def trains_first_stage(model: ContextualModel, config: TrainingConfig) -> bool:
    """Whether the first stage is trained: as `config` says, or else if both stages are one network."""
    if config.train_first_stage is not None:
        return config.train_first_stage
    first = {id(weight) for weight in model.first_stage.parameters()}
    return any(id(weight) in first for weight in model.second_stage.parameters())


def context_size(encoder: ContextualEncoder, config: TrainingConfig) -> int:
    """The number of context documents of a step.

    Raises:
        ConfigurationError: the model reads another number.
    """
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and config.context_size not in (None, slots):
        raise ConfigurationError(
            f"this model reads exactly {slots} context vectors, but context_size is {config.context_size}; leave "
            f"context_size out"
        )
    return encoder.config.context_size if config.context_size is None else config.context_size


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability of a model to 0, in place; its configuration stays."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, _FOR_ATTENTION, None), float):
            setattr(module, _FOR_ATTENTION, 0.0)
