"""Recognition and settings of the released models, cde-small-v1 and -v2 (docs/method.md).

Their `config.json` has no `model_type` and no sizes, so both come from `releases.py`, from the names of the weights,
or from a `backbone_config.json` next to them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.context.selection import LARGEST
from cde_retrievers.errors import CheckpointError, ConfigurationError, shown
from cde_retrievers.model.backbone_settings import Layers, Rows, check_settings
from cde_retrievers.model.backbones import family_of
from cde_retrievers.model.checkpoints import CONFIG_FILE, WEIGHTS_FILE, read_config, read_json_object, weight_names
from cde_retrievers.model.config import MIN_LENGTH, ContextualConfig, JointConditioning, Variant
from cde_retrievers.model.releases import RELEASES, Release
from cde_retrievers.validation.problems import readable

BACKBONE_FILE = "backbone_config.json"
PROMPTS = {"query_prompt": "search_query: ", "document_prompt": "search_document: "}
_VARIANTS: tuple[Variant, ...] = ("train", "hub")
# ":" in ModernBERT's vocabulary, which closes "search_query: "; the encoder checks it against the tokenizer.
_COLON = 27
# Share of context vectors that training replaces by the null vector (paper, section 4.2).
_NULL_PROBABILITY = 0.005


# Settings of NomicBERT's published config that have other names in transformers.
_NOMIC_SETTINGS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class _Published(_File):
    """The fields that are read from a published `config.json`."""

    embedder: str | None = None
    transductive_corpus_size: int = Field(ge=2, le=LARGEST)
    transductive_tokens_per_document: int | None = 1
    transductive_sequence_dropout_prob: float = Field(default=0.0, ge=0, le=1)
    max_seq_length: int = Field(default=512, ge=MIN_LENGTH)
    pool_ignore_instruction_tokens: bool | None = None


class _PublishedBackbone(_File):
    """The fields of a published backbone's config that affect the computation."""

    vocab_size: Rows | None = None
    pad_vocab_size_multiple: Rows | None = None
    num_hidden_layers: Layers | None = None
    rotary_emb_base: float | None = Field(default=None, gt=0)
    global_rope_theta: float | None = Field(default=None, gt=0)
    local_rope_theta: float | None = Field(default=None, gt=0)
    global_attn_every_n_layers: Layers | None = None


File = TypeVar("File", bound=_File)


def is_published(settings: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is in the published layout."""
    return "model_type" not in settings and "transductive_corpus_size" in settings


def is_published_folder(folder: Path) -> bool:
    """Whether a directory holds a model in the published layout."""
    return os.path.isfile(folder / CONFIG_FILE) and is_published(read_config(folder))


def tokenizer_source(folder: Path) -> str | None:
    """Return the hub repository whose tokenizer a released model uses, or None for other models."""
    settings = read_config(folder)
    return release_of(folder, settings).tokenizer if is_published(settings) else None


def release_of(folder: Path, settings: Mapping[str, Any]) -> Release:
    """Identify the architecture by the embedder's name, or else by the names of the weights.

    Raises:
        CheckpointError: both are unknown.
    """
    for release in RELEASES:
        if settings.get("embedder") == release.embedder:
            return release
    names = weight_names(folder / WEIGHTS_FILE)
    for release in RELEASES:
        if any(release.mark in name for name in names):
            return release
    raise CheckpointError(
        f"{folder} has the backbone {shown(settings.get('embedder'))}, which is unknown; "
        f"known are {[release.embedder for release in RELEASES]}; fetch it again"
    )


def published_config(folder: Path, settings: Mapping[str, Any], variant: str = "train") -> ContextualConfig:
    """Convert the published settings to this library's config.

    Raises:
        ConfigurationError: the variant is unknown.
        CheckpointError: the backbone is unknown, or no released model has such a setting.
    """
    if variant not in _VARIANTS:
        raise ConfigurationError(f"variant {variant!r} is unknown; use one of {list(_VARIANTS)}")
    published = _checked(_Published, settings, folder / CONFIG_FILE)
    if published.transductive_tokens_per_document not in (None, 1):
        raise CheckpointError(f"{folder} has several vectors per context document, which is not supported")
    release = release_of(folder, settings)
    skips_prompt = variant == "train" and bool(published.pool_ignore_instruction_tokens)
    conditioning = JointConditioning(
        variant=variant,
        context_slots=published.transductive_corpus_size,
        instruction_end=_COLON if skips_prompt else None,
        null_vector=published.transductive_sequence_dropout_prob > 0,
    )
    return ContextualConfig(
        conditioning=conditioning,
        backbone=_backbone_settings(folder, release),
        max_length=published.max_seq_length,
        context_size=published.transductive_corpus_size,
        **PROMPTS,
    )


def _backbone_settings(folder: Path, release: Release) -> dict[str, Any]:
    path = folder / BACKBONE_FILE
    override = _native_settings(read_json_object(path), release, path) if os.path.lexists(path) else {}
    backbone = {**release.backbone, **override}
    try:
        check_settings(family_of(release.model_type).kind, backbone)
    except ConfigurationError as error:
        raise CheckpointError(f"{path} does not describe a backbone: {error}; fetch or save it again") from error
    return {"model_type": release.model_type, **backbone}


def _checked(kind: type[File], settings: Mapping[str, Any], path: Path) -> File:
    try:
        return kind(**settings)
    except ValidationError as error:
        raise CheckpointError(f"{path} is not valid: {readable(error.errors())}; fetch or save it again") from error


def _native_settings(settings: Mapping[str, Any], release: Release, path: Path) -> dict[str, Any]:
    """Convert a backbone's config to the names of transformers' native classes, dropping unused settings."""
    given = _checked(_PublishedBackbone, settings, path)
    native = {ours: settings[theirs] for theirs, ours in _NOMIC_SETTINGS.items() if theirs in settings}
    native |= {name: settings[name] for name in family_of(release.model_type).settings if name in settings}
    if given.pad_vocab_size_multiple and given.vocab_size:
        multiple = given.pad_vocab_size_multiple
        native["vocab_size"] = -(-given.vocab_size // multiple) * multiple
    if given.rotary_emb_base:
        native["rope_parameters"] = _rope(given.rotary_emb_base)
    if given.global_rope_theta and given.local_rope_theta:
        native["rope_parameters"] = {
            "full_attention": _rope(given.global_rope_theta),
            "sliding_attention": _rope(given.local_rope_theta),
        }
    if given.global_attn_every_n_layers and given.num_hidden_layers:
        every, layers = given.global_attn_every_n_layers, given.num_hidden_layers
        native["layer_types"] = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    return native


def _rope(theta: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": float(theta)}


def published_files(config: ContextualConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `config.json` and `backbone_config.json` in the published layout, for a released architecture.

    Raises:
        ConfigurationError: the model is of another architecture, which the published layout cannot represent.
    """
    conditioning = config.conditioning
    release = next((r for r in RELEASES if r.model_type == config.backbone["model_type"]), None)
    if not isinstance(conditioning, JointConditioning) or conditioning.variant == "own" or release is None:
        raise ConfigurationError(
            "the published layout holds released models only (cde-small-v1 and -v2, fine-tuned or not); "
            "use save() for this one"
        )
    settings = {
        "architecture": "transductive",
        "embedder": release.embedder,
        "transductive_corpus_size": conditioning.context_slots,
        "transductive_tokens_per_document": 1,
        "transductive_sequence_dropout_prob": _NULL_PROBABILITY if conditioning.null_vector else 0.0,
        "disable_transductive_rotary_embedding": True,
        "max_seq_length": config.max_length,
        "pool_ignore_contextual_tokens": release.skips_prompt,
        "pool_ignore_instruction_tokens": release.skips_prompt,
        "torch_dtype": "float32",
    }
    return settings, dict(config.backbone)
