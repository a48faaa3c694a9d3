"""Reads a bi-encoder in Hugging Face or sentence-transformers layout: what it is made of, and its weights."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig

from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.backbones import backbone_settings, longest_text
from cde_retrievers.model.checkpoints import WEIGHTS_FILE, read_weights
from cde_retrievers.model.config import Pooling
from cde_retrievers.model.hub import local_folder

_DEFAULT_MAX_LENGTH = 512
_POOLING_FLAGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_POOLING_NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "cls"}
# Heads stand beside these, and so do not match; `position_ids` is no weight but was saved as one.
_ENCODER_WEIGHT = re.compile(r"(\w+\.)?(?P<name>(embeddings|encoder|layers|final_norm)\.(?!position_ids).+)")
_READABLE_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class BiEncoder:
    """Fields of `ContextualConfig` that describe the bi-encoder, and its backbone's weights by name."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]


def read_biencoder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> BiEncoder:
    """Read a directory, or a repository on the Hugging Face hub.

    Without sentence-transformers files the bi-encoder is taken to pool the mean.

    Raises:
        CheckpointError: it is not there, is damaged, has no safetensors weights, or has parts (a dense layer,
            another pooling) that a contextual model does not reproduce.
    """
    folder = local_folder(name_or_path, cache_folder)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder} is not a readable bi-encoder: {error}") from error
    try:
        sentence_settings = _sentence_transformers_settings(folder)
        limit = int(sentence_settings.pop("max_length") or _DEFAULT_MAX_LENGTH)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} has sentence-transformers files of a form not known ({error!r})") from error
    settings = {
        "backbone": backbone_settings(config),
        "max_length": min(limit, longest_text(config)),
        **sentence_settings,
    }
    return BiEncoder(settings, _backbone_weights(folder))


def _backbone_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors in the folder that belong to the encoder, under the names that transformers gives them today."""
    files = sorted(folder.glob("*.safetensors")) or [folder / WEIGHTS_FILE]
    weights = {}
    for name, tensor in (item for file in files for item in read_weights(file)):
        match = _ENCODER_WEIGHT.match(name)
        if match:
            today = match["name"].replace("LayerNorm.gamma", "LayerNorm.weight")
            weights[today.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor
    return weights


def _sentence_transformers_settings(folder: Path) -> dict[str, Any]:
    modules = _read_json(folder / "modules.json", [])
    kinds = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in modules}
    unknown = sorted(set(kinds) - set(_READABLE_MODULES))
    if unknown:
        raise CheckpointError(f"{folder} has modules that a contextual model does not reproduce: {unknown}")
    transformer = _read_json(folder / "sentence_bert_config.json", {})
    if transformer.get("do_lower_case"):
        raise CheckpointError(f"{folder} lower-cases texts outside its tokenizer, which is not reproduced")
    prompts = _read_json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}
    return {
        "pooling": _pooling(folder / kinds["Pooling"] / "config.json") if "Pooling" in kinds else "mean",
        "max_length": transformer.get("max_seq_length"),
        "query_prompt": prompts.get("query") or "",
        "document_prompt": prompts.get("document") or prompts.get("passage") or "",
    }


def _pooling(path: Path) -> Pooling:
    settings = _read_json(path, {})
    if settings.get("include_prompt") is False:
        raise CheckpointError(f"{path} leaves prompts out of the pooling, which is not reproduced")
    named = settings.get("pooling_mode")
    flags = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]
    if named in _POOLING_NAMES:
        return _POOLING_NAMES[named]
    if named is None and len(flags) == 1 and flags[0] in _POOLING_FLAGS:
        return _POOLING_FLAGS[flags[0]]
    raise CheckpointError(f"{path} asks for pooling {named or flags}; supported are {list(_POOLING_NAMES)}")


def _read_json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error})") from error
