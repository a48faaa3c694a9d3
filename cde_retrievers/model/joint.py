"""The paper's conditioning: context, soft prompt and text as one bidirectional sequence (specification 2.3).

Axes: B texts, L tokens, N context vectors, P soft-prompt tokens, W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.model.backbones import neutral_positions, text_positions, without_position
from cde_retrievers.model.config import Pooling
from cde_retrievers.model.pooling import POOLERS
from cde_retrievers.model.second_stage import SecondStage, batched_context


@dataclass(frozen=True, slots=True)
class JointPrefix:
    """What stands in front of every text: context vectors, then the soft prompt, (1 or B, N + P, W)."""

    vectors: Tensor


class JointSecondStage(SecondStage[JointPrefix]):
    """Reads `[context][soft prompt][text]`, pools the text, and adds a projection of what it pooled."""

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, soft_prompt_tokens: int) -> None:
        super().__init__(backbone.config.hidden_size)
        self.backbone = backbone
        self.soft_prompt_tokens = soft_prompt_tokens
        self.prompt_projection = _mlp(self.width, self.width * soft_prompt_tokens, nn.ReLU())
        self.output_projection = _mlp(self.width, self.width, nn.ReLU())
        self._pool = POOLERS[pooling]

    def soft_prompt(self) -> Tensor:
        """The learned prompt (P, W); a constant given the weights."""
        ones = torch.ones(self.width, dtype=self.backbone.dtype, device=self.backbone.device)
        prompt: Tensor = self.prompt_projection(ones)
        return prompt.view(self.soft_prompt_tokens, self.width)

    def prepare(self, context_vectors: Tensor) -> JointPrefix:
        """Context (N, W) or (B, N, W), soft prompt appended, position taken out."""
        context = batched_context(context_vectors, self.backbone.dtype)
        prompt = self.soft_prompt().expand(len(context), -1, -1)
        return JointPrefix(without_position(self.backbone, torch.cat([context, prompt], dim=1)))

    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: JointPrefix) -> Tensor:
        """Token ids and mask (B, L) -> (B, W), not normalised."""
        prefix = prepared.vectors.expand(len(input_ids), -1, -1)
        states = self.backbone(
            inputs_embeds=torch.cat([prefix, self.backbone.get_input_embeddings()(input_ids)], dim=1),
            attention_mask=torch.cat([attention_mask.new_ones(prefix.shape[:2]), attention_mask], dim=1),
            position_ids=self._positions(prefix.shape[1], input_ids.shape[1]),
        ).last_hidden_state
        pooled = self._pool(states[:, prefix.shape[1] :], attention_mask)
        projected: Tensor = self.output_projection(pooled)
        return pooled + projected

    def _positions(self, prefix_length: int, text_length: int) -> Tensor:
        neutral = neutral_positions(self.backbone, prefix_length)
        return torch.cat([neutral, text_positions(self.backbone, text_length)]).unsqueeze(0)

    def start_from_biencoder(self) -> None:
        """Silence the output projection, so that training starts from what the backbone pools."""
        for weight in self.output_projection[-1].parameters():
            nn.init.zeros_(weight)


def first_stage_mlp(width: int) -> nn.Sequential:
    """The projection from pooled states to context vectors (specification 2.1)."""
    return _mlp(width, width, nn.GELU())


def _mlp(width: int, output: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), activation, nn.Linear(width, output))
