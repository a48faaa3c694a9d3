"""Embeddings in a plane. Axes: n documents, W width."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class Projection:
    """Documents in the plane in which their embeddings differ most: their two first principal components.

    Attributes:
        points: (n, 2), with mean 0.
        shares: of the variance, along each of the two.
    """

    points: NDArray[np.float64]
    shares: tuple[float, float]

    @classmethod
    def of(cls, embeddings: NDArray[np.float32]) -> "Projection":
        """Project embeddings (n, W).

        Raises:
            ConfigurationError: they are not at least two rows of at least two numbers.
        """
        if embeddings.ndim != 2 or min(embeddings.shape) < 2:
            raise ConfigurationError(
                f"a map needs at least two embeddings of at least two numbers, found shape {embeddings.shape}; give "
                f"what encode_documents gave"
            )
        centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
        first = directions[:2]
        # A direction is as good as its opposite; this choice makes the map the same on every machine.
        first = first * np.sign(first[np.arange(2), np.abs(first).argmax(axis=1)])[:, None]
        shares = lengths**2 / max(float((lengths**2).sum()), np.finfo(np.float64).tiny)
        return cls(centred @ first.T, (float(shares[0]), float(shares[1])))
