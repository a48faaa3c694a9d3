"""The second stage's interface: a text, given a context, to its embedding. Axes: B texts, L tokens, N context
vectors, W width.
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

    What depends on the context alone is computed by `prepare`, once per context; `embed` is what a text costs.

    Attributes:
        width: W.
        null_vector: (W,), learned, stands for "no context document"; None for a stage without one.
    """

    null_vector: nn.Parameter | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_parameter("null_vector", None)

    @abstractmethod
    def prepare(self, context_vectors: Tensor, sequence_dropout: float = 0.0) -> Prepared:
        """Context vectors (N, W), or (B, N, W) for one context per text -> whatever `embed` needs of them.

        Args:
            context_vectors: as the first stage makes them.
            sequence_dropout: in training, the probability with which the null vector takes a context vector's place.

        Raises:
            ConfigurationError: the probability is none, or there is no null vector.
        """

    @property
    def reads_context(self) -> bool:
        """Whether an embedding depends on the context at all."""
        return True

    @property
    def trains_context(self) -> bool:
        """Whether a gradient flows back into the context vectors."""
        return True

    @abstractmethod
    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: Prepared) -> Tensor:
        """Right-padded token ids (B, L) and their mask (B, L) -> embeddings (B, W), not normalised."""

    def positions_before_text(self, prepared: Prepared) -> int:
        """How many positions the backbone reads in front of every text, for whoever sizes batches."""
        return 0

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, context_vectors: Tensor, null_context: bool = False
    ) -> Tensor:
        """Prepare and embed in one differentiable step; shapes as above.

        Args:
            input_ids: right-padded token ids.
            attention_mask: their mask.
            context_vectors: as the first stage makes them.
            null_context: put the null vector in the place of each of them.

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
        """Raise ConfigurationError unless `prepare` can be given this probability."""
        if not 0 <= probability < 1:
            raise ConfigurationError(f"sequence_dropout must be a probability in [0, 1), found {probability}")
        if probability > 0:
            self._required_null_vector()

    def null_vectors(self, size: int) -> NDArray[np.float32]:
        """The null vector (W,) `size` times -> (size, W), to stand for a context.

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
    """(N, W) or (B, N, W) -> (1 or B, N, W) in the format the backbone computes with."""
    vectors = context_vectors if context_vectors.ndim == 3 else context_vectors.unsqueeze(0)
    return vectors.to(dtype)


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
