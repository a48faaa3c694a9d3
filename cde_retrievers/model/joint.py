"""The paper's conditioning: context, soft prompt and text as one bidirectional sequence (specification 2.3).

Axes: B texts, L tokens, N context vectors, P soft-prompt tokens, W width.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import JointConditioning, Pooling
from cde_retrievers.model.joint_layouts import joint_layout
from cde_retrievers.model.pooling import POOLERS
from cde_retrievers.model.second_stage import SecondStage, batched_context

logger = logging.getLogger(__name__)

# Initial spread of the null vector (specification 2.2).
_NULL_DEVIATION = 0.01


@dataclass(frozen=True, slots=True)
class JointPrefix:
    """What stands in front of every text, ready to be fed to the backbone.

    Attributes:
        vectors: context vectors, then the soft prompt, (1 or B, N + P, W).
        context_length: N.
    """

    vectors: Tensor
    context_length: int


class JointSecondStage(SecondStage[JointPrefix]):
    """Reads `[context][soft prompt][text]`, pools the text, and projects what it pooled."""

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, settings: JointConditioning) -> None:
        super().__init__(backbone.config.hidden_size)
        self.backbone = backbone
        self.settings = settings
        self.prompt_projection = _mlp(self.width, self.width * settings.soft_prompt_tokens, nn.ReLU())
        self.output_projection = _mlp(self.width, self.width, nn.ReLU())
        self.null_vector = nn.Parameter(_NULL_DEVIATION * torch.randn(self.width)) if settings.null_vector else None
        self._layout = joint_layout(backbone.config.model_type, settings.variant)
        self._pool = POOLERS[pooling]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, context_vectors: Tensor, null_context: bool = False
    ) -> Tensor:
        """As every second stage; with `null_context` the null vector takes the place of each context vector.

        Raises:
            ConfigurationError: the context has the wrong shape, or there is no null vector.
        """
        if null_context:
            context_vectors = self._null_context(context_vectors)
        return super().forward(input_ids, attention_mask, context_vectors)

    def soft_prompt(self) -> Tensor:
        """The learned prompt (P, W); a constant given the weights."""
        ones = torch.ones(self.width, dtype=self.backbone.dtype, device=self.backbone.device)
        prompt: Tensor = self.prompt_projection(ones)
        return prompt.view(self.settings.soft_prompt_tokens, self.width)

    def prepare(self, context_vectors: Tensor) -> JointPrefix:
        """Context (N, W) or (B, N, W) with the soft prompt behind it; beyond the model's slots it is not read."""
        context = batched_context(context_vectors, self.backbone.dtype)
        slots = self.settings.context_slots
        if slots is not None and context.shape[1] > slots:
            logger.warning("only the first %d of %d context vectors are read", slots, context.shape[1])
            context = context[:, :slots]
        prompt = self.soft_prompt().expand(len(context), -1, -1)
        return JointPrefix(self._layout.prefix(self.backbone, torch.cat([context, prompt], dim=1)), context.shape[1])

    def positions_before_text(self, prepared: JointPrefix) -> int:
        """Context vectors and soft prompt: N + P."""
        return prepared.vectors.shape[1]

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, prepared: JointPrefix) -> Tensor:
        """Token ids and mask (B, L) -> the backbone's last states at the text's positions, (B, L, W)."""
        prefix = prepared.vectors.expand(len(input_ids), -1, -1)
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
        """Token ids and mask (B, L) -> (B, W), not normalised."""
        states = self.hidden_states(input_ids, attention_mask, prepared)
        pooled = self._pool(states, self._pooled_tokens(input_ids, attention_mask))
        projected: Tensor = self.output_projection(pooled)
        return pooled + projected if self._layout.residual else projected

    def _pooled_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mask (B, L) less the prompt: all up to the first end of an instruction that is not the first token."""
        if self.settings.instruction_end is None:
            return attention_mask
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        ends = (input_ids == self.settings.instruction_end) & attention_mask.bool() & (place > 0)
        first = torch.where(ends.any(dim=1), ends.int().argmax(dim=1), -1)
        return attention_mask * (place > first.unsqueeze(1))

    def _null_context(self, context_vectors: Tensor) -> Tensor:
        if self.null_vector is None:
            raise ConfigurationError(
                "this model has no null vector (the released ones have none), so it needs a context; "
                "fit one on the corpus"
            )
        return self.null_vector.expand(context_vectors.shape)

    def start_from_biencoder(self) -> None:
        """Silence the output projection, so that training starts from what the backbone pools."""
        for weight in self.output_projection[-1].parameters():
            nn.init.zeros_(weight)


def first_stage_mlp(width: int) -> nn.Sequential:
    """The projection from pooled states to context vectors (specification 2.1)."""
    return _mlp(width, width, nn.GELU())


def _mlp(width: int, output: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), activation, nn.Linear(width, output))
