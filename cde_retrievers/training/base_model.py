"""The model that a training run starts from, by name: a contextual model or a bi-encoder."""

from pathlib import Path
from typing import Any

import torch

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.config import Conditioning
from cde_retrievers.model.hub import local_folder
from cde_retrievers.model.pretrained import BUILT_IN_BIENCODERS
from cde_retrievers.model.released import is_published_folder

_DEFAULT_CONDITIONING = "cached"


def encoder_to_train(
    name_or_path: str | Path,
    conditioning: str | Conditioning | None = None,
    *,
    device: str | torch.device = "auto",
    **settings: Any,
) -> ContextualEncoder:
    """Load a contextual model, or make one from a bi-encoder.

    Args:
        name_or_path: "minilm", which here means its bi-encoder; or a directory or hub repository with a bi-encoder or a
            contextual model.
        conditioning: of the model made from a bi-encoder; "cached" if None.
        device: of the model.
        settings: fields of `ContextualConfig` for a bi-encoder, such as prompts or `max_length`.

    Raises:
        ConfigurationError: conditioning or settings are given for a contextual model, or one of them is impossible.
        CheckpointError: there is no such model, or this library cannot read it.
        MissingDependencyError: the built-in model's weights are not installed; names the extra.
    """
    if not is_contextual(name_or_path):
        return ContextualEncoder.from_biencoder(
            name_or_path, conditioning or _DEFAULT_CONDITIONING, device=device, **settings
        )
    given = sorted({*settings, *(["conditioning"] if conditioning is not None else [])})
    if given:
        raise ConfigurationError(
            f"{name_or_path} is already contextual and is trained as it is, so it takes no {', '.join(given)}; leave "
            f"that out, or give a bi-encoder"
        )
    return ContextualEncoder.from_pretrained(name_or_path, device=device)


def is_contextual(name_or_path: str | Path) -> bool:
    """Whether a model is contextual: saved by this library, or a released one.

    Raises:
        CheckpointError: there is no model of that name.
    """
    if str(name_or_path) in BUILT_IN_BIENCODERS:
        return False
    folder = local_folder(name_or_path)
    return is_own_layout(folder) or is_published_folder(folder)
