"""InfoNCE, query to document, over the documents of all processes.

Axes: B queries and M documents of this process, R processes, W width.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.distributed import gathered, rank, world_size


class LossReport(NamedTuple):
    """The loss and two figures to watch; scalars, float32.

    Attributes:
        loss: to be minimised; the mean over this process's queries.
        accuracy: share of the queries whose positive scores highest among the documents that count.
        masked_share: share of the negatives that were excluded.
    """

    loss: Tensor
    accuracy: Tensor
    masked_share: Tensor


class ContrastiveLoss(nn.Module):
    """Cross-entropy over cosine similarity divided by a temperature (paper, equation 1).

    Computed in float32 for embeddings of any number format.

    Args:
        temperature: divides similarities.
        matryoshka_dims: sum the loss over embeddings cut to each of these widths (arXiv 2205.13147), so that cut
            embeddings work too. The whole width is only among them if it is named.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    def __init__(self, *, temperature: float = 0.02, matryoshka_dims: Sequence[int] = ()) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ConfigurationError(f"temperature must be above 0, found {temperature}; give a number above 0")
        if len(set(matryoshka_dims)) < len(matryoshka_dims) or any(dim < 1 for dim in matryoshka_dims):
            raise ConfigurationError(f"matryoshka_dims are {list(matryoshka_dims)}; give distinct widths of at least 1")
        self.temperature = temperature
        self.matryoshka_dims = tuple(matryoshka_dims)

    def check_width(self, width: int) -> None:
        """Raise ConfigurationError if `matryoshka_dims` has more than `width`."""
        widest = max(self.matryoshka_dims, default=width)
        if widest > width:
            raise ConfigurationError(
                f"matryoshka_dims has {widest}, but embeddings have {width} components; name at most that many"
            )

    def forward(self, queries: Tensor, documents: Tensor, excluded: Tensor | None = None) -> LossReport:
        """Loss of this process's queries over the documents of all.

        Args:
            queries: embeddings (B, W), normalised or not.
            documents: embeddings (M, W): the positives in the order of the queries, then H hard negatives of the
                first query, of the second, and so on; M = B * (1 + H), and the same on every process.
            excluded: (B, R * M) bool, True for documents that are not negatives of a query (paper, equation 4), those
                of the first process first. A query's positive always counts.

        Raises:
            TrainingDataError: the shapes do not fit each other.
            ConfigurationError: embeddings are narrower than the Matryoshka dimensions.
        """
        _check_shapes(queries, documents, excluded)
        width = queries.shape[1]
        self.check_width(width)
        with torch.autocast(queries.device.type, enabled=False):
            candidates = gathered(documents).float()
            own = rank() * len(documents) + torch.arange(len(queries), device=queries.device)
            excluded = _without_own(excluded, own, len(candidates))
            by_width = {
                dim: _similarities(queries.float(), candidates, dim) for dim in (self.matryoshka_dims or (width,))
            }
            scale = 1 / self.temperature
            losses = [
                cross_entropy((scale * cosine).masked_fill(excluded, -torch.inf), own) for cosine in by_width.values()
            ]
            with torch.no_grad():
                best = by_width[max(by_width)].masked_fill(excluded, -torch.inf).argmax(dim=1)
        accuracy = (best == own).float().mean()
        negatives = max(excluded.numel() - len(own), 1)
        return LossReport(torch.stack(losses).sum(), accuracy, excluded.sum().float() / negatives)


def _similarities(queries: Tensor, documents: Tensor, width: int) -> Tensor:
    """Cosines of the first `width` components, (B, R * M)."""
    return normalize(queries[:, :width], dim=-1) @ normalize(documents[:, :width], dim=-1).T


def _without_own(excluded: Tensor | None, own: Tensor, candidates: int) -> Tensor:
    """The mask (B, R * M), with False for each query's positive."""
    if excluded is None:
        return torch.zeros(len(own), candidates, dtype=torch.bool, device=own.device)
    return excluded.scatter(1, own.unsqueeze(1), False)


def _check_shapes(queries: Tensor, documents: Tensor, excluded: Tensor | None) -> None:
    if len(queries) == 0 or len(documents) == 0 or len(documents) % len(queries):
        raise TrainingDataError(
            f"{len(documents)} documents do not match {len(queries)} queries; give each query its positive and the "
            f"same number of hard negatives"
        )
    expected = (len(queries), world_size() * len(documents))
    if excluded is not None and (excluded.shape != expected or excluded.dtype != torch.bool):
        raise TrainingDataError(
            f"excluded must be bool {expected}, a row for each query and a column for each document of all processes, "
            f"found {excluded.dtype} {tuple(excluded.shape)}"
        )
