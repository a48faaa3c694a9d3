"""One-way conditioning: context attends to itself only, so its keys and values are computed once per context and
every text attends to them and to itself.

Axes: B texts, L tokens, N context vectors, H heads, D head width, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from cde_retrievers.model.backbones import neutral_positions, text_positions, without_position
from cde_retrievers.model.config import CachedConditioning, Pooling
from cde_retrievers.model.context_attention import LayerContext, TextHeads, attend_under
from cde_retrievers.model.first_stage import POOLERS
from cde_retrievers.model.second_stage import SecondStage, batched_context, drop_vectors, new_null_vector
from cde_retrievers.model.whitening import WhiteningMap, fit_whitening_each

ATTENTION = "cde_cached"


@dataclass(frozen=True, slots=True)
class ContextCache:
    """The per-context state that every text reads.

    Attributes:
        layers: keys and values of each layer.
        whitening: the map applied to embeddings at the end; None without one.
    """

    layers: tuple[LayerContext, ...]
    whitening: WhiteningMap | None


@dataclass(frozen=True, slots=True)
class _Record:
    """Passed to the backbone with the context, to collect the keys and values of each layer."""

    layers: list[LayerContext] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """Passed to the backbone with a text: the context it attends to, and its gate (layers, H)."""

    layers: Sequence[LayerContext]
    strength: Tensor


class CachedSecondStage(SecondStage[ContextCache]):
    """Embeds a text while every layer also attends to a cached context.

    The gate scales, per layer and head, the difference that context makes. A model made from a bi-encoder starts at
    zero, where context has no effect. While it is exactly zero only the gate and the text's
    own path have a gradient; the context's path has one from the first step on.
    """

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, settings: CachedConditioning) -> None:
        super().__init__(backbone.config.hidden_size)
        self.backbone = backbone
        self.context_projection = nn.Linear(self.width, self.width)
        self.gate = nn.Parameter(torch.zeros(backbone.config.num_hidden_layers, backbone.config.num_attention_heads))
        self.null_vector = new_null_vector(self.width) if settings.null_vector else None
        self.settings = settings
        self._pool = POOLERS[pooling]

    def prepare(self, context_vectors: Tensor, sequence_dropout: float = 0.0) -> ContextCache:
        """Compute keys and values of every layer for the context (N, W), or for each of B contexts (B, N, W).

        With `sequence_dropout`, the context vectors that the null vector replaces are drawn once per context: all texts
        under it share its keys and values, which makes this conditioning cheap.
        """
        self.check_sequence_dropout(sequence_dropout)
        context = batched_context(context_vectors, self.backbone.dtype)
        if sequence_dropout > 0:
            context = drop_vectors(context, self._required_null_vector(), sequence_dropout)
        record = _Record()
        self.backbone(
            inputs_embeds=without_position(self.backbone, self.context_projection(context)),
            position_ids=neutral_positions(self.backbone, context.shape[1]).unsqueeze(0),
            cde_context=record,
        )
        return ContextCache(tuple(record.layers), self._whitening(context_vectors))

    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: ContextCache) -> Tensor:
        """Embed token ids and mask (B, L) -> (B, W), not normalised."""
        states = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=text_positions(self.backbone, input_ids.shape[1]).unsqueeze(0),
            cde_context=_Read(prepared.layers, self.gate.tanh()),
        ).last_hidden_state
        pooled = self._pool(states, attention_mask)
        # In full precision, as in the `whitening` conditioning.
        return pooled if prepared.whitening is None else prepared.whitening(normalize(pooled.float(), dim=-1))

    def _whitening(self, context_vectors: Tensor) -> WhiteningMap | None:
        """Fit the whitening on the original vectors: sequence dropout does not affect the statistics."""
        if self.settings.whitening_power == 0:
            return None
        return fit_whitening_each(context_vectors, self.settings.whitening_power, self.settings.whitening_shrinkage)

    def start_from_biencoder(self) -> None:
        """Close the gate and pass context vectors through unchanged.

        The stage then equals the bi-encoder exactly, or whitened if the settings say so.
        """
        nn.init.zeros_(self.gate)
        nn.init.eye_(self.context_projection.weight)
        nn.init.zeros_(self.context_projection.bias)


def register_attention() -> str:
    """Register the attention below with transformers and return its name. Idempotent."""
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    return ATTENTION


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cde_context: _Record | _Read | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention with the signature of transformers; query, key, value (B, H, L, D) -> (B, L, H, D)."""
    heads = TextHeads(query, key, value, attention_mask, scaling, dropout)
    if isinstance(cde_context, _Read):
        layer = int(module.layer_idx)  # type: ignore[arg-type]  # transformers numbers its attention modules
        attended = attend_under(cde_context.layers[layer], heads, cde_context.strength[layer])
    else:
        attended = heads.attend()
    if isinstance(cde_context, _Record):
        cde_context.layers.append(LayerContext(key, value))
    return attended.transpose(1, 2).contiguous(), None
