"""From one vector per token to one per text. Axes: B texts, L tokens, W width."""

from collections.abc import Callable, Mapping

from torch import Tensor

from cde_retrievers.model.config import Pooling

# The published models divide by the count plus this, so parity needs it too (docs/method.md, First stage).
_EPSILON = 1e-20


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the real tokens.  states (B, L, W), mask (B, L) of 0 and 1 -> (B, W)"""
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / (weights.sum(dim=1) + _EPSILON)


def cls_pool(states: Tensor, mask: Tensor) -> Tensor:
    """The first token's vector.  states (B, L, W), mask (B, L) -> (B, W)"""
    return states[:, 0]


POOLERS: Mapping[Pooling, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_pool, "cls": cls_pool}
