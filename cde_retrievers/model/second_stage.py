"""The interface of the second stage, which embeds a text given a context.

Axes: B texts, L tokens, N context vectors, W width.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cde_retrievers.errors import ConfigurationError

Prepared = TypeVar("Prepared")


class SecondStage(nn.Module, ABC, Generic[Prepared]):
    """Embeds texts under a context.

    `prepare` computes the state that depends on the context alone, once per context; `embed` runs for each text.

    Attributes:
        width: W.
        null_vector: (W,), learned, represents "no context document"; None for a stage without one.
    """

    null_vector: nn.Parameter | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_parameter("null_vector", None)

    @abstractmethod
    def prepare(self, context_vectors: Tensor, sequence_dropout: float = 0.0) -> Prepared:
        """Prepare context vectors (N, W), or (B, N, W) for one context per text, for `embed`.

        Args:
            context_vectors: as the first stage makes them.
            sequence_dropout: in training, the probability with which the null vector takes a context vector's place.

        Raises:
            ConfigurationError: the probability is not in [0, 1), or there is no null vector.
        """

    @property
    def reads_context(self) -> bool:
        """Whether embeddings depend on the context."""
        return True

    @property
    def trains_context(self) -> bool:
        """Whether a gradient flows back into the context vectors."""
        return True

    @abstractmethod
    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: Prepared) -> Tensor:
        """Embed right-padded token ids (B, L) with mask (B, L) -> (B, W), not normalised."""

    def positions_before_text(self, prepared: Prepared) -> int:
        """Return the number of positions that the backbone reads before every text, for sizing batches."""
        return 0

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, context_vectors: Tensor, null_context: bool = False
    ) -> Tensor:
        """Prepare and embed in one differentiable step; shapes as above.

        Args:
            input_ids: right-padded token ids.
            attention_mask: their mask.
            context_vectors: as the first stage makes them.
            null_context: replace each of them by the null vector.

        Raises:
            ConfigurationError: the context vectors have the wrong rank or width, or there is no null vector.
        """
        self.check_context(context_vectors)
        if null_context:
            context_vectors = self._required_null_vector().expand(context_vectors.shape)
        return self.embed(input_ids, attention_mask, self.prepare(context_vectors))

    def check_context(self, context_vectors: Tensor) -> None:
        """Raise ConfigurationError unless the context vectors are (N, W) or (B, N, W)."""
        if context_vectors.ndim not in (2, 3) or context_vectors.shape[-1] != self.width:
            raise ConfigurationError(
                f"context vectors must be (N, {self.width}) or (B, N, {self.width}), "
                f"found {tuple(context_vectors.shape)}; take them from this model's first stage"
            )

    def check_sequence_dropout(self, probability: float) -> None:
        """Raise ConfigurationError unless `prepare` accepts this probability."""
        if not 0 <= probability < 1:
            raise ConfigurationError(f"sequence_dropout must be a probability in [0, 1), found {probability}")
        if probability > 0:
            self._required_null_vector()

    def null_vectors(self, size: int) -> NDArray[np.float32]:
        """Repeat the null vector (W,) -> (size, W), to use as an empty context.

        Raises:
            ConfigurationError: there is none.
        """
        one = self._required_null_vector().detach().float().cpu().numpy()
        return np.tile(one, (size, 1))

    def _required_null_vector(self) -> nn.Parameter:
        if self.null_vector is None:
            raise ConfigurationError(
                "this model has no null vector to use instead of a context (the released models have none); "
                "fit a context on the corpus, or to train one, start from JointConditioning or CachedConditioning with "
                "null_vector=True"
            )
        return self.null_vector


def batched_context(context_vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert (N, W) or (B, N, W) -> (1 or B, N, W) in the backbone's number format."""
    vectors = context_vectors if context_vectors.ndim == 3 else context_vectors.unsqueeze(0)
    return vectors.to(dtype)


# Initial spread (docs/method.md, Null vector).
_DEVIATION = 0.01


def new_null_vector(width: int) -> nn.Parameter:
    """Make a learnable null vector (W,)."""
    return nn.Parameter(_DEVIATION * torch.randn(width))


def drop_vectors(vectors: Tensor, null_vector: Tensor, probability: float) -> Tensor:
    """Apply sequence dropout: replace each vector by the null vector, independently with this probability.

    Source: paper, section 4.2.

    Args:
        vectors: (B, N, W).
        null_vector: (W,).
        probability: probability for each of the B * N vectors, drawn from the caller's random state.

    Returns:
        (B, N, W). The null vector is part of the graph even if none was replaced, so that the graph is the same
        in every step.
    """
    dropped = torch.rand(vectors.shape[:2], device=vectors.device) < probability
    return torch.where(dropped.unsqueeze(-1), null_vector.to(vectors.dtype), vectors)
