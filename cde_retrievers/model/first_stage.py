"""The first stage, which maps a text to its context vector. Axes: B texts, L tokens, W width."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.model.backbones import text_positions
from cde_retrievers.model.config import Pooling


class FirstStage(nn.Module):
    """A bi-encoder, followed by a projection if the conditioning was trained with one."""

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, mlp: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.mlp = mlp
        self._pool = POOLERS[pooling]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map right-padded token ids (B, L) and mask (B, L) -> context vectors (B, W), not normalised."""
        pooled = self.pooled(input_ids, attention_mask)
        return pooled if self.mlp is None else self.mlp(pooled)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the bi-encoder's own vectors (B, W), without the projection, not normalised."""
        states = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=text_positions(self.backbone, input_ids.shape[1]).unsqueeze(0),
        ).last_hidden_state
        return self._pool(states, attention_mask)


# The published models divide by the count plus this, so parity needs it too (docs/method.md, First stage).
_EPSILON = 1e-20


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Average the real tokens.  states (B, L, W), mask (B, L) of 0 and 1 -> (B, W)"""
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / (weights.sum(dim=1) + _EPSILON)


def cls_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector.  states (B, L, W), mask (B, L) -> (B, W)"""
    return states[:, 0]


POOLERS: Mapping[Pooling, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_pool, "cls": cls_pool}
