"""Hugging Face encoders as backbones, with a table of the differences between families."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.backbone_settings import (
    BackboneSettings,
    BertSettings,
    ModernBertSettings,
    MPNetSettings,
    NomicBertSettings,
    RobertaSettings,
    check_settings,
)

# Used in training only: no embedding depends on them.
TRAINING_SETTINGS = frozenset(
    {"hidden_dropout_prob", "attention_probs_dropout_prob", "embedding_dropout", "attention_dropout", "mlp_dropout"}
)
# Older names from which transformers makes `rope_parameters` and `layer_types`.
_FORMER_SETTINGS = ("rope_scaling", "rope_theta", "global_rope_theta", "local_rope_theta", "global_attn_every_n_layers")


@dataclass(frozen=True, slots=True)
class Family:
    """The properties of one family of encoders beyond the shared interface.

    Attributes:
        kind: the settings that define a model of the family, by their transformers names.
        first_position: the position id of a text's first token.
        options: arguments of the family's constructor in addition to its settings.
        conditionings: the kinds of conditioning that work over it. `cached` needs attention modules that know their
            layer; `cached` and `joint` need position ids alone to determine the order of tokens.
    """

    kind: type[BackboneSettings]
    first_position: Callable[[PretrainedConfig], int]
    options: Mapping[str, Any]
    conditionings: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings."""
        return tuple(self.kind.model_fields)


def _from_zero(config: PretrainedConfig) -> int:
    return 0


def _after_padding(config: PretrainedConfig) -> int:
    return int(config.pad_token_id) + 1


# The output of a pooling layer is never read.
_NO_POOLER = {"add_pooling_layer": False}

_ALL = ("cached", "joint", "whitening")
_NUMBERS_NO_LAYERS = ("joint", "whitening")
_ORDERS_BY_PLACE = ("whitening",)

FAMILIES: Mapping[str, Family] = {
    "bert": Family(BertSettings, _from_zero, _NO_POOLER, _ALL),
    "roberta": Family(RobertaSettings, _after_padding, _NO_POOLER, _ALL),
    "xlm-roberta": Family(RobertaSettings, _after_padding, _NO_POOLER, _ALL),
    "nomic_bert": Family(NomicBertSettings, _from_zero, _NO_POOLER, _NUMBERS_NO_LAYERS),
    "modernbert": Family(ModernBertSettings, _from_zero, {}, _NUMBERS_NO_LAYERS),
    "mpnet": Family(MPNetSettings, _after_padding, {**_NO_POOLER, "attn_implementation": "eager"}, _ORDERS_BY_PLACE),
}


def family_of(model_type: str | None) -> Family:
    """Return the table's row for transformers' `model_type`.

    Raises:
        ConfigurationError: the family is not supported.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ConfigurationError(
            f"backbones of type {model_type!r} are not supported; supported are {sorted(FAMILIES)}"
        )
    return FAMILIES[model_type]


def check_conditioning(model_type: str | None, kind: str) -> None:
    """Raise `ConfigurationError` if this kind of conditioning does not work over the family."""
    available = family_of(model_type).conditionings
    if kind not in available:
        raise ConfigurationError(
            f"{kind} conditioning is not available over {model_type!r} backbones; "
            f"use {' or '.join(map(repr, available))}"
        )


def backbone_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Extract the settings that rebuild a backbone from a transformers `config.json`.

    Only these are stored and fingerprinted, so that a new default in a later transformers changes neither.

    Raises:
        ConfigurationError: the family is not supported, or a setting is impossible.
    """
    if given.get("is_decoder"):
        raise ConfigurationError("the backbone is a decoder (is_decoder=True); an encoder is needed")
    model_type = given.get("model_type")
    family = family_of(model_type)
    known = {name: given[name] for name in family.settings if name in given}
    check_settings(family.kind, known, partly=True)
    former = {name: given[name] for name in _FORMER_SETTINGS if name in given}
    config = transformers_config({"model_type": model_type, **known, **former})
    whole = {name: getattr(config, name) for name in family.settings}
    check_settings(family.kind, whole)
    return {"model_type": model_type, **whole}


def build_backbone(settings: dict[str, Any], attention: str = "sdpa") -> PreTrainedModel:
    """Build an encoder with random weights.

    Raises:
        ConfigurationError: a setting is missing, unknown or impossible, or transformers refuses it.
    """
    family = family_of(settings.get("model_type"))
    wrong = set(settings) ^ {"model_type", *family.settings}
    if wrong:
        raise ConfigurationError(f"backbone settings {sorted(map(str, wrong))} are unknown or missing")
    check_settings(family.kind, {name: settings[name] for name in family.settings})
    config = transformers_config(settings)
    try:
        model: PreTrainedModel = AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, **{"attn_implementation": attention, **family.options}
        )
    except Exception as error:  # what transformers raises here depends on the setting
        raise ConfigurationError(f"transformers refuses the backbone's settings: {error}") from error
    return model


def transformers_config(settings: Mapping[str, Any]) -> PretrainedConfig:
    """Return the settings as a transformers config, which fills in its defaults.

    Raises:
        ConfigurationError: transformers refuses a setting.
    """
    try:
        # Copied, because transformers completes nested settings in place.
        return AutoConfig.for_model(**deepcopy({**_no_special_tokens(settings), **settings}))
    except Exception as error:  # what transformers raises here depends on the setting
        raise ConfigurationError(f"transformers refuses the backbone's settings: {error}") from error


def _no_special_tokens(settings: Mapping[str, Any]) -> dict[str, None]:
    # ModernBERT's defaults name tokens that a smaller vocabulary does not have; the tokenizer defines its own.
    named = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    return dict.fromkeys(named) if settings["model_type"] == "modernbert" else {}


def longest_text(config: PretrainedConfig) -> int:
    """Return the number of tokens that the backbone has positions for."""
    return int(config.max_position_embeddings) - family_of(config.model_type).first_position(config)


def without_position(backbone: PreTrainedModel, vectors: Tensor) -> Tensor:
    """Subtract from `vectors` (..., W) the position that the backbone adds under `neutral_positions`.

    Context has no order, so it gets no positional information (paper, section 4.2).
    """
    row = family_of(backbone.config.model_type).first_position(backbone.config)
    table: Tensor = backbone.get_parameter("embeddings.position_embeddings.weight")
    return vectors - table[row]


def neutral_positions(backbone: PreTrainedModel, count: int) -> Tensor:
    """Return position ids (count,) for vectors that went through `without_position`."""
    row = family_of(backbone.config.model_type).first_position(backbone.config)
    return torch.full((count,), row, dtype=torch.long, device=backbone.device)


def text_positions(backbone: PreTrainedModel, length: int) -> Tensor:
    """Return position ids (length,) of a right-padded text, as in the bi-encoder that the backbone comes from."""
    first = family_of(backbone.config.model_type).first_position(backbone.config)
    return torch.arange(first, first + length, device=backbone.device)
