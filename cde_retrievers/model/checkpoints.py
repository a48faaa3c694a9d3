"""A model on disk: `config.json`, `model.safetensors` and their checksums in one directory. No pickle, no code."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.errors import CheckpointError, shown
from cde_retrievers.storage.checked_json import read_json
from cde_retrievers.storage.checksums import CHECKSUMS_FILE, check_files, read_checksums
from cde_retrievers.storage.hashing import write_json

MODEL_TYPE = "cde_retrievers"
FORMAT_VERSION = 2
# Directories in this version have no checksums.
_WITHOUT_CHECKSUMS = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_READ_IF_THERE = (CONFIG_FILE, "backbone_config.json", "tokenizer.json")
_REMEDY = "fetch or save it again"


def write_checkpoint(directory: Path, settings: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write settings and weights into an existing directory."""
    header = {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION}
    write_files(directory, {**header, **settings}, weights)


def write_files(directory: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write `config.json` and `model.safetensors` into an existing directory, unchanged."""
    write_json(directory / CONFIG_FILE, config)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, directory / WEIGHTS_FILE)


def is_own_layout(directory: Path) -> bool:
    """Whether the directory holds a model that `write_checkpoint` wrote."""
    try:
        return read_config(directory).get("model_type") == MODEL_TYPE
    except CheckpointError:
        return False


def check_own_layout(directory: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a directory that `write_checkpoint` wrote, without the header.

    Raises:
        CheckpointError: the directory holds another kind of model, or one of another version.
    """
    fields = dict(settings)
    if fields.pop("model_type", None) != MODEL_TYPE:
        raise CheckpointError(
            f"{directory} is not a contextual model; to make one from a bi-encoder, "
            f"use from_biencoder({str(directory)!r})"
        )
    version = fields.pop("format_version", None)
    if isinstance(version, bool) or version not in (_WITHOUT_CHECKSUMS, FORMAT_VERSION):
        raise CheckpointError(
            f"{directory} has format version {shown(version)}, but this release reads {FORMAT_VERSION} and earlier; "
            f"update cde-retrievers or save the model again"
        )
    return fields


def check_integrity(directory: Path, settings: dict[str, Any]) -> None:
    """Raise if a file in the directory is not the one that was written there.

    Models in format version 1, saved by an earlier release, have no checksums, and neither have released models as
    published: those are read unchecked.

    Args:
        directory: the directory of the model.
        settings: its `config.json`.

    Raises:
        CheckpointError: a file is missing, damaged or not the expected one; weights or a tokenizer were added; or the
            checksums are missing.
    """
    if not os.path.lexists(directory / CHECKSUMS_FILE):
        if settings.get("model_type") == MODEL_TYPE and settings.get("format_version") != _WITHOUT_CHECKSUMS:
            raise CheckpointError(f"{directory} is incomplete: there is no {CHECKSUMS_FILE} in it; {_REMEDY}")
        return
    checksums = read_checksums(directory, CheckpointError, _REMEDY)
    check_files(directory, checksums, CheckpointError, _REMEDY, read=_READ_IF_THERE)


def read_config(directory: Path) -> dict[str, Any]:
    """Read the directory's `config.json`.

    Raises:
        CheckpointError: it is missing, cannot be read, or is not a JSON object.
    """
    if not os.path.lexists(directory / CONFIG_FILE):
        raise CheckpointError(f"{directory} holds no model: there is no {CONFIG_FILE} in it")
    return read_json_object(directory / CONFIG_FILE)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        CheckpointError: it cannot be read, is not JSON, or is not an object.
    """
    value = read_json(path, CheckpointError, _REMEDY)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: a JSON object is expected, found {type(value).__name__}; {_REMEDY}")
    return value


def read_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield names and tensors of a safetensors file one by one, so that the whole file is never in memory.

    Raises:
        CheckpointError: the file is missing, cannot be read, or is damaged.
    """
    for name in weight_names(path):
        # Opened for each tensor, because tensors stay mapped until the file is closed; copied, because a mapped tensor
        # is not aligned: it computes a little slower and differs in the last bit.
        with _damage_explained(path), safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(name).clone()
        yield name, tensor


def weight_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file.

    Raises:
        CheckpointError: the file is missing, cannot be read, or is damaged.
    """
    if not os.path.isfile(path):
        found = "not a regular file" if os.path.exists(path) else "missing"
        raise CheckpointError(
            f"{path} is {found}; weights are read from safetensors only (pickled ones can run code), so convert other "
            f"formats first: load them once with transformers and save_pretrained() them"
        )
    with _damage_explained(path), safe_open(path, framework="pt") as file:
        return list(file.keys())


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}); {_REMEDY}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error


def unique_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return every weight once, by name; a shared weight has the name of the first module."""
    return {name: weight.detach() for name, weight in module.named_parameters()}


def fill(module: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Set the module's weights to exactly these, without copying them.

    The module may have been built on the meta device, where its own weights take no memory.

    Raises:
        CheckpointError: names or shapes differ, or values are not finite floats; the message lists which.
    """
    missing = unique_weights(module)
    problems = []
    for name, tensor in weights:
        wanted = missing.pop(name, None)
        if wanted is None:
            problems.append(f"unexpected {name}")
        elif wanted.shape != tensor.shape:
            problems.append(f"{name} has shape {tuple(tensor.shape)} instead of {tuple(wanted.shape)}")
        elif not tensor.is_floating_point():
            problems.append(f"{name} has integers ({tensor.dtype})")
        elif not torch.isfinite(tensor := tensor.to(torch.float32)).all():
            problems.append(f"{name} has values that are not finite numbers")
        else:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, nn.Parameter(tensor))
    problems += [f"missing {name}" for name in missing]
    if problems:
        raise CheckpointError(f"the weights do not fit the config: {'; '.join(sorted(problems))}; {_REMEDY}")
    _restore_buffers(module)


def _restore_buffers(module: nn.Module) -> None:
    """Compute the buffers that a backbone built on the meta device lacks; they follow from its config."""
    for backbone in (m for m in module.modules() if isinstance(m, PreTrainedModel)):
        for part in backbone.modules():
            hollow = [name for name, buffer in part.named_buffers(recurse=False) if buffer.is_meta]
            for name in hollow:
                part._buffers[name] = torch.empty_like(part.get_buffer(name), device="cpu")
            if hollow:
                backbone._init_weights(part)  # type: ignore[no-untyped-call]


def digest_weights(module: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and float32 values of all weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(unique_weights(module).items()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        digest.update(weight.to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()
