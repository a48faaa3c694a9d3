"""Layouts of `[context][soft prompt][text]` in the second stage, one per family and variant.

Sources: docs/method.md, Layouts. Axes: B texts, L tokens, P positions before the text, W width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.backbones import neutral_positions, text_positions, without_position
from cde_retrievers.model.config import Variant


@dataclass(frozen=True, slots=True)
class JointLayout:
    """The inputs of a second stage's backbone, and the use of the pooled text.

    Attributes:
        prefix: (backbone, context and soft prompt (..., P, W)) -> their rows of `inputs_embeds`.
        text: (backbone, token ids (B, L)) -> their rows of `inputs_embeds`, (B, L, W).
        positions: (backbone, P, L, leading positions without rotation) -> position ids (P + L,).
        residual: whether the pooled text is added to its projection.
    """

    prefix: Callable[[PreTrainedModel, Tensor], Tensor]
    text: Callable[[PreTrainedModel, Tensor], Tensor]
    positions: Callable[[PreTrainedModel, int, int, int], Tensor]
    residual: bool


def joint_layout(model_type: str, variant: Variant) -> JointLayout:
    """Return the layout of a family and variant.

    Raises:
        ConfigurationError: the family has no such variant.
    """
    if (model_type, variant) not in _LAYOUTS:
        known = sorted(name for family, name in _LAYOUTS if family == model_type)
        raise ConfigurationError(
            f"joint conditioning over {model_type!r} has no variant {variant!r}; use one of {known}"
        )
    return _LAYOUTS[model_type, variant]


def _as_it_is(backbone: PreTrainedModel, vectors: Tensor) -> Tensor:
    return vectors


def _words(backbone: PreTrainedModel, token_ids: Tensor) -> Tensor:
    words: Tensor = backbone.get_input_embeddings()(token_ids)
    return words


def _first_type(backbone: PreTrainedModel) -> Tensor:
    return backbone.get_parameter("embeddings.token_type_embeddings.weight")[0]


def _without_type(backbone: PreTrainedModel, vectors: Tensor) -> Tensor:
    # The backbone adds the type embedding to all inputs; in training context had none.
    return vectors - _first_type(backbone)


def _typed_words(backbone: PreTrainedModel, token_ids: Tensor) -> Tensor:
    # The published remote code adds the type embedding itself and lets the backbone add it again.
    return _words(backbone, token_ids) + _first_type(backbone)


def _normed_words(backbone: PreTrainedModel, token_ids: Tensor) -> Tensor:
    # ModernBERT normalises `inputs_embeds`, so words from its own embedding are normalised twice, as in training.
    normed: Tensor = backbone.get_submodule("embeddings")(token_ids)
    return normed


def _text_from_its_start(backbone: PreTrainedModel, prefix: int, text: int, unrotated: int) -> Tensor:
    return torch.cat([neutral_positions(backbone, prefix), text_positions(backbone, text)])


def _absolute(backbone: PreTrainedModel, prefix: int, text: int, unrotated: int) -> Tensor:
    return torch.arange(prefix + text, device=backbone.device)


def _absolute_after_context(backbone: PreTrainedModel, prefix: int, text: int, unrotated: int) -> Tensor:
    # Position 0 means no rotation. The boundary is the model's number of slots, not the number of vectors.
    positions = _absolute(backbone, prefix, text, unrotated)
    return torch.where(positions < unrotated, 0, positions)


_LEARNED_POSITIONS = JointLayout(without_position, _words, _text_from_its_start, residual=True)

_LAYOUTS: Mapping[tuple[str, Variant], JointLayout] = {
    ("bert", "own"): _LEARNED_POSITIONS,
    ("roberta", "own"): _LEARNED_POSITIONS,
    ("xlm-roberta", "own"): _LEARNED_POSITIONS,
    ("nomic_bert", "own"): JointLayout(_without_type, _words, _absolute_after_context, residual=True),
    ("nomic_bert", "train"): JointLayout(_without_type, _words, _absolute_after_context, residual=False),
    ("nomic_bert", "hub"): JointLayout(_as_it_is, _typed_words, _absolute, residual=False),
    ("modernbert", "own"): JointLayout(_as_it_is, _normed_words, _absolute, residual=True),
    ("modernbert", "train"): JointLayout(_as_it_is, _normed_words, _absolute, residual=True),
    ("modernbert", "hub"): JointLayout(_as_it_is, _normed_words, _absolute, residual=False),
}
