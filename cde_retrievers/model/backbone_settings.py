"""The settings that define a backbone, by their transformers names: types and limits.

transformers checks few of these itself. The limits are far beyond any published encoder: they keep a damaged config
from asking for more memory or time than any machine has.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from transformers.activations import ACT2FN

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.problems import readable


def _known_activation(name: str) -> str:
    if name not in ACT2FN:
        raise ValueError("transformers has no activation of that name")
    return name


Activation = Annotated[str, AfterValidator(_known_activation)]
Layers = Annotated[int, Field(ge=1, le=256)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Rows = Annotated[int, Field(ge=1, le=10_000_000)]
TokenId = Annotated[int, Field(ge=0, le=10_000_000)]
Epsilon = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Rope(_Checked):
    """Rotary positions: the kind, its base, and further parameters of other kinds than the default."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str | list[float] | None]

    rope_type: str = "default"
    rope_theta: float = Field(gt=0)


class RopeByLayer(_Checked):
    """Rotary positions of layers with global attention, and of those with a sliding window."""

    full_attention: Rope
    sliding_attention: Rope


class BackboneSettings(_Checked):
    """Settings of all families."""

    vocab_size: Rows
    hidden_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Width
    intermediate_size: Width
    max_position_embeddings: Rows
    pad_token_id: TokenId | None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of {self.num_attention_heads} heads")
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is not in a vocabulary of {self.vocab_size} tokens")
        return self


class BertSettings(BackboneSettings):
    """Settings of BERT."""

    hidden_act: Activation
    type_vocab_size: Width
    layer_norm_eps: Epsilon
    hidden_dropout_prob: Probability
    attention_probs_dropout_prob: Probability


class RobertaSettings(BertSettings):
    """Settings of RoBERTa, which counts positions from after the padding position."""

    pad_token_id: TokenId


class NomicBertSettings(BertSettings):
    """Settings of NomicBERT."""

    rope_parameters: Rope


class MPNetSettings(BackboneSettings):
    """Settings of MPNet, which counts positions from after the padding position."""

    pad_token_id: TokenId
    hidden_act: Activation
    layer_norm_eps: Epsilon
    hidden_dropout_prob: Probability
    attention_probs_dropout_prob: Probability
    relative_attention_num_buckets: Annotated[int, Field(ge=2, le=10_000)]


class ModernBertSettings(BackboneSettings):
    """Settings of ModernBERT."""

    hidden_activation: Activation
    norm_eps: Epsilon
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    layer_types: Annotated[list[Literal["full_attention", "sliding_attention"]], Field(max_length=256)]
    rope_parameters: RopeByLayer
    local_attention: Rows
    embedding_dropout: Probability
    attention_dropout: Probability
    mlp_dropout: Probability

    @model_validator(mode="after")
    def _as_many_types_as_layers(self) -> Self:
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"layer_types names {len(self.layer_types)} layers of {self.num_hidden_layers}")
        return self


def check_settings(kind: type[BackboneSettings], settings: dict[str, Any], partly: bool = False) -> None:
    """Raise ConfigurationError unless the settings are valid.

    Args:
        kind: the settings class of the family.
        settings: the settings by name.
        partly: whether settings may be missing or None, to be filled in by transformers.
    """
    given = {name: value for name, value in settings.items() if not (partly and value is None)}
    try:
        kind(**given)
    except ValidationError as error:
        problems = [problem for problem in error.errors() if not (partly and problem["type"] == "missing")]
        if problems:
            raise ConfigurationError(f"the backbone's settings are not valid: {readable(problems)}") from error
