"""Reading bi-encoders in Hugging Face or sentence-transformers layout: settings and weights."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.model.backbones import backbone_settings, build_backbone, longest_text, transformers_config
from cde_retrievers.model.checkpoints import WEIGHTS_FILE, fill, read_config, read_json_object, read_weights
from cde_retrievers.model.config import MIN_LENGTH
from cde_retrievers.model.hub import local_folder
from cde_retrievers.model.sentence_files import read_sentence_settings
from cde_retrievers.storage.checksums import FileName
from cde_retrievers.validation.problems import readable

_DEFAULT_MAX_LENGTH = 512
# Heads have other prefixes and do not match; `position_ids` is not a weight but was saved as one.
_ENCODER_WEIGHT = re.compile(r"(\w+\.)?(?P<name>(embeddings|encoder|layers|final_norm)\.(?!position_ids).+)")
_INDEX_FILE = f"{WEIGHTS_FILE}.index.json"


@dataclass(frozen=True, slots=True)
class BiEncoder:
    """Fields of `ContextualConfig` that describe the bi-encoder, and its backbone's weights by name."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]


class _Index(BaseModel):
    """The index of sharded weights: file by weight."""

    weight_map: dict[str, FileName]


def read_biencoder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> BiEncoder:
    """Read a directory, or a repository on the Hugging Face hub.

    Without sentence-transformers files, mean pooling is assumed. Only these are read: `config.json`, the files of
    sentence-transformers, and `model.safetensors` or the files that its index names.

    Raises:
        CheckpointError: it is missing or damaged, has no safetensors weights, or has parts (a dense layer,
            another pooling) that a contextual model does not reproduce.
    """
    folder = local_folder(name_or_path, cache_folder)
    try:
        backbone = backbone_settings(read_config(folder))
        longest = longest_text(transformers_config(backbone))
        if longest < MIN_LENGTH:
            raise ConfigurationError(f"it has positions for {longest} tokens, but at least {MIN_LENGTH} are needed")
        with torch.device("meta"):  # takes no memory, even if a damaged config states a huge size
            hollow = build_backbone(backbone)
    except (CheckpointError, ConfigurationError) as error:
        raise CheckpointError(f"{folder} is not a readable bi-encoder: {error}") from error
    settings = read_sentence_settings(folder).model_dump()
    settings["max_length"] = min(settings["max_length"] or _DEFAULT_MAX_LENGTH, longest)
    weights = _backbone_weights(folder)
    fill(hollow, weights.items())
    return BiEncoder({"backbone": backbone, **settings}, weights)


def _backbone_weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the encoder in the folder, under current transformers names."""
    weights: dict[str, Tensor] = {}
    for name, tensor in _all_weights(folder):
        match = _ENCODER_WEIGHT.match(name)
        if match:
            today = match["name"].replace("LayerNorm.gamma", "LayerNorm.weight")
            today = today.replace("LayerNorm.beta", "LayerNorm.bias")
            if today in weights:
                raise CheckpointError(f"{folder} has the weight {today} twice; fetch or save it again")
            weights[today] = tensor
    return weights


def _all_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    index = folder / _INDEX_FILE
    if os.path.lexists(folder / WEIGHTS_FILE) or not os.path.lexists(index):
        yield from read_weights(folder / WEIGHTS_FILE)
        return
    try:
        places = _Index(**read_json_object(index)).weight_map
    except ValidationError as error:
        raise CheckpointError(f"{index} is damaged: {readable(error.errors())}; fetch or save it again") from error
    names: dict[str, set[str]] = defaultdict(set)
    for name, file in places.items():
        names[file].add(name)
    for file, listed in names.items():
        yield from ((name, tensor) for name, tensor in read_weights(folder / file) if name in listed)
