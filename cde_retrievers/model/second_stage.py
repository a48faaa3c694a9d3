"""The second stage's interface: a text, given a context, to its embedding. Axes: B texts, L tokens, N context
vectors, W width.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from cde_retrievers.errors import ConfigurationError

Prepared = TypeVar("Prepared")


class SecondStage(nn.Module, ABC, Generic[Prepared]):
    """Embeds texts under a context.

    What depends on the context alone is computed by `prepare`, once per context; `embed` is what a text costs.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @abstractmethod
    def prepare(self, context_vectors: Tensor) -> Prepared:
        """Context vectors (N, W), or (B, N, W) for one context per text -> whatever `embed` needs of them."""

    @abstractmethod
    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: Prepared) -> Tensor:
        """Right-padded token ids (B, L) and their mask (B, L) -> embeddings (B, W), not normalised."""

    def positions_before_text(self, prepared: Prepared) -> int:
        """How many positions the backbone reads in front of every text, for whoever sizes batches."""
        return 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor, context_vectors: Tensor) -> Tensor:
        """Prepare and embed in one differentiable step, as training needs it; shapes as above.

        Raises:
            ConfigurationError: the context vectors have the wrong rank or width.
        """
        self.check_context(context_vectors)
        return self.embed(input_ids, attention_mask, self.prepare(context_vectors))

    def check_context(self, context_vectors: Tensor) -> None:
        """Raise ConfigurationError unless the context vectors are (N, W) or (B, N, W)."""
        if context_vectors.ndim not in (2, 3) or context_vectors.shape[-1] != self.width:
            raise ConfigurationError(
                f"context vectors must be (N, {self.width}) or (B, N, {self.width}), "
                f"found {tuple(context_vectors.shape)}; take them from this model's first stage"
            )


def batched_context(context_vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, W) or (B, N, W) -> (1 or B, N, W) in the format the backbone computes with."""
    vectors = context_vectors if context_vectors.ndim == 3 else context_vectors.unsqueeze(0)
    return vectors.to(dtype)
