"""A model on disk: `config.json` and `model.safetensors` in one directory. No pickle, no code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cde_retrievers.errors import CheckpointError
from cde_retrievers.files import write_json

MODEL_TYPE = "cde_retrievers"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def write_checkpoint(directory: Path, settings: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write settings and weights into an existing directory."""
    header = {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION}
    write_json(directory / CONFIG_FILE, {**header, **settings})
    save_file({name: weight.contiguous() for name, weight in weights.items()}, directory / WEIGHTS_FILE)


def read_checkpoint(directory: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights that `write_checkpoint` wrote.

    Raises:
        CheckpointError: a file is missing or damaged, or the directory holds another kind of model.
    """
    settings = read_config(directory)
    if settings.pop("model_type", None) != MODEL_TYPE:
        raise CheckpointError(
            f"{directory} is not a contextual model; to make one of a bi-encoder, "
            f"use from_biencoder({str(directory)!r})"
        )
    version = settings.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{directory} has format version {version!r}, this release reads {FORMAT_VERSION}; "
            f"update cde-retrievers or save the model again"
        )
    return settings, read_weights(directory / WEIGHTS_FILE)


def read_config(directory: Path) -> dict[str, Any]:
    """The directory's `config.json`.

    Raises:
        CheckpointError: it is missing or is no JSON object.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory} holds no model: there is no {CONFIG_FILE} in it")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error}); fetch or save it again") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} is damaged: a JSON object is expected, found {type(settings).__name__}")
    return settings


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file.

    Raises:
        CheckpointError: the file is missing, or is damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing; weights are read from safetensors only, so convert other formats first"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}); fetch or save it again") from error


def unique_weights(module: nn.Module) -> dict[str, Tensor]:
    """Every weight once, by name; a weight that two modules share has the first one's name."""
    return {name: weight.detach() for name, weight in module.named_parameters()}


def load_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights` into the module's, all of them and no others.

    Raises:
        CheckpointError: names or shapes differ; the message lists which.
    """
    wanted = unique_weights(module)
    problems = [f"missing {name}" for name in sorted(wanted.keys() - weights.keys())]
    problems += [f"unexpected {name}" for name in sorted(weights.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & weights.keys())
        if wanted[name].shape != weights[name].shape
    ]
    if problems:
        raise CheckpointError("the weights do not fit the config: " + "; ".join(problems))
    with torch.no_grad():
        for name, weight in wanted.items():
            weight.copy_(weights[name])


def digest_weights(module: nn.Module) -> str:
    """SHA-256 over names, shapes and float32 values of all weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(unique_weights(module).items()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        digest.update(weight.to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()
