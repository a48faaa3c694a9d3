"""The paper's conditioning: context, soft prompt and text as one bidirectional sequence (paper, section 4.2).

Axes: B texts, L tokens, N context vectors, P soft-prompt tokens, W width.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.model.config import JointConditioning, Pooling
from cde_retrievers.model.first_stage import POOLERS
from cde_retrievers.model.joint_layouts import joint_layout
from cde_retrievers.model.second_stage import SecondStage, batched_context, drop_vectors, new_null_vector

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JointPrefix:
    """The input of the backbone before every text.

    Attributes:
        vectors: context vectors, then the soft prompt, (1 or B, N + P, W).
        context_length: N.
        null_vector: replaces dropped context documents in training, (W,); else None.
        sequence_dropout: the probability of dropping one.
    """

    vectors: Tensor
    context_length: int
    null_vector: Tensor | None = None
    sequence_dropout: float = 0.0

    def before(self, texts: int) -> Tensor:
        """Return the prefix of each of B texts, (B, N + P, W), with dropped vectors drawn for each text."""
        vectors = self.vectors.expand(texts, -1, -1)
        if self.null_vector is None:
            return vectors
        context, prompt = vectors[:, : self.context_length], vectors[:, self.context_length :]
        return torch.cat([drop_vectors(context, self.null_vector, self.sequence_dropout), prompt], dim=1)


class JointSecondStage(SecondStage[JointPrefix]):
    """Reads `[context][soft prompt][text]`, pools the text, and projects the result."""

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, settings: JointConditioning) -> None:
        super().__init__(backbone.config.hidden_size)
        self.backbone = backbone
        self.settings = settings
        self.prompt_projection = _mlp(self.width, self.width * settings.soft_prompt_tokens, nn.ReLU())
        self.output_projection = _mlp(self.width, self.width, nn.ReLU())
        self.null_vector = new_null_vector(self.width) if settings.null_vector else None
        self._layout = joint_layout(backbone.config.model_type, settings.variant)
        self._pool = POOLERS[pooling]

    def soft_prompt(self) -> Tensor:
        """The learned prompt (P, W); a constant given the weights."""
        ones = torch.ones(self.width, dtype=self.backbone.dtype, device=self.backbone.device)
        prompt: Tensor = self.prompt_projection(ones)
        return prompt.view(self.settings.soft_prompt_tokens, self.width)

    def prepare(self, context_vectors: Tensor, sequence_dropout: float = 0.0) -> JointPrefix:
        """Join context (N, W) or (B, N, W) and the soft prompt; vectors beyond the model's slots are not read.

        With `sequence_dropout`, the context vectors that the null vector replaces are drawn for every text.
        """
        self.check_sequence_dropout(sequence_dropout)
        context = self._within_slots(batched_context(context_vectors, self.backbone.dtype))
        prompt = self.soft_prompt().expand(len(context), -1, -1)
        vectors = self._layout.prefix(self.backbone, torch.cat([context, prompt], dim=1))
        if sequence_dropout == 0:
            return JointPrefix(vectors, context.shape[1])
        null_vector = self._layout.prefix(self.backbone, self._required_null_vector())
        return JointPrefix(vectors, context.shape[1], null_vector, sequence_dropout)

    def _within_slots(self, context: Tensor) -> Tensor:
        slots = self.settings.context_slots
        if slots is None or context.shape[1] <= slots:
            return context
        logger.warning("only the first %d of %d context vectors are read", slots, context.shape[1])
        return context[:, :slots]

    def positions_before_text(self, prepared: JointPrefix) -> int:
        """Return the number of context vectors and soft-prompt tokens, N + P."""
        return prepared.vectors.shape[1]

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, prepared: JointPrefix) -> Tensor:
        """Map token ids and mask (B, L) -> the backbone's last states at the text's positions, (B, L, W)."""
        prefix = prepared.before(len(input_ids))
        slots = self.settings.context_slots
        unrotated = prepared.context_length if slots is None else slots
        positions = self._layout.positions(self.backbone, prefix.shape[1], input_ids.shape[1], unrotated)
        states: Tensor = self.backbone(
            inputs_embeds=torch.cat([prefix, self._layout.text(self.backbone, input_ids)], dim=1),
            attention_mask=torch.cat([attention_mask.new_ones(prefix.shape[:2]), attention_mask], dim=1),
            position_ids=positions.unsqueeze(0),
        ).last_hidden_state
        return states[:, prefix.shape[1] :]

    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: JointPrefix) -> Tensor:
        """Embed token ids and mask (B, L) -> (B, W), not normalised."""
        states = self.hidden_states(input_ids, attention_mask, prepared)
        pooled = self._pool(states, self._pooled_tokens(input_ids, attention_mask))
        projected: Tensor = self.output_projection(pooled)
        return pooled + projected if self._layout.residual else projected

    def _pooled_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the mask (B, L) without the prompt: all up to the first instruction end after the first token."""
        if self.settings.instruction_end is None:
            return attention_mask
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        ends = (input_ids == self.settings.instruction_end) & attention_mask.bool() & (place > 0)
        first = torch.where(ends.any(dim=1), ends.int().argmax(dim=1), -1)
        return attention_mask * (place > first.unsqueeze(1))

    def start_from_biencoder(self) -> None:
        """Zero the output projection, so that training starts from the pooled states of the backbone."""
        for weight in self.output_projection[-1].parameters():
            nn.init.zeros_(weight)


def first_stage_mlp(width: int) -> nn.Sequential:
    """Make the projection from pooled states to context vectors (docs/method.md, First stage)."""
    return _mlp(width, width, nn.GELU())


def _mlp(width: int, output: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), activation, nn.Linear(width, output))
