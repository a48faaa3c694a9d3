"""The learned vector that stands for "no context document". Axes: B contexts, N context vectors, W width."""

import torch
from torch import Tensor, nn

# Initial spread (docs/method.md, Null vector).
_DEVIATION = 0.01


def new_null_vector(width: int) -> nn.Parameter:
    """A null vector (W,) to be learned."""
    return nn.Parameter(_DEVIATION * torch.randn(width))


def drop_vectors(vectors: Tensor, null_vector: Tensor, probability: float) -> Tensor:
    """Sequence dropout: each vector is replaced by the null vector, independently and with this probability.

    Source: paper, section 4.2.

    Args:
        vectors: (B, N, W).
        null_vector: (W,).
        probability: of each of the B * N vectors; the caller's random state decides which.

    Returns:
        (B, N, W). The null vector is part of the graph even where none was replaced, so that the graph is the same
        in every step.
    """
    dropped = torch.rand(vectors.shape[:2], device=vectors.device) < probability
    return torch.where(dropped.unsqueeze(-1), null_vector.to(vectors.dtype), vectors)
