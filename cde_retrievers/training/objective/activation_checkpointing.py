"""Layer by layer recomputation of activations, which transformers also calls gradient checkpointing."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError


def checkpoint_activations(model: nn.Module, settings: Mapping[str, Any], **options: Any) -> None:
    """Switch it on in every backbone.

    Args:
        model: with transformers' models somewhere inside.
        settings: for `torch.utils.checkpoint.checkpoint`; not reentrant unless they say so.
        options: what else the method of transformers' models takes, such as `every_n_layers`.

    Raises:
        ConfigurationError: the reentrant kind is asked for. It runs layers without a graph first, and so would cut the
            keys and values that `cached` conditioning keeps of a context off from their gradient.
    """
    settings = {"use_reentrant": False, **settings}
    if settings["use_reentrant"]:
        raise ConfigurationError(
            "activation checkpointing of the reentrant kind loses gradients here; set use_reentrant to False"
        )
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            # transformers gave the method its new name within version 5, and warns of the old one since.
            enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
            enable(settings, **options)
