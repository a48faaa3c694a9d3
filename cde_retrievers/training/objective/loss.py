"""InfoNCE, query to document, over the documents of all processes.

Axes: B queries and M documents of this process, R processes, W width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.gathering import gathered, gathered_mask, rank, world_size
from cde_retrievers.training.objective.contrast import Contrast, contrast

# A learned temperature stays within these: below the first, single negatives decide everything (CLIP, arXiv
# 2103.00020, section 2.5, stops there too); above the second, similarity decides nothing.
_LEARNED_RANGE = (0.01, 1.0)


@dataclass(frozen=True, slots=True)
class LossReport:
    """The loss and what to watch; all scalars, float32.

    Attributes:
        loss: to be minimised; the mean over this process's queries.
        accuracy: share of the queries whose positive scores higher than every document kept.
        masked_share: share of the negatives that were left out.
    """

    loss: Tensor
    accuracy: Tensor
    masked_share: Tensor


class ContrastiveLoss(nn.Module):
    """Cross-entropy over cosine similarity divided by a temperature (paper, equation 1).

    Always computed in float32, whatever number format the embeddings come in.

    Args:
        temperature: what similarities are divided by; the start where it is learned.
        learn_temperature: learn its logarithm, within 0.01 and 1.
        symmetric: also from each positive to the queries, half and half.
        matryoshka_dims: sum the loss over embeddings cut to each of these widths (arXiv 2205.13147), so that cut
            embeddings work too. The whole width is only among them if it is named.
        matryoshka_weights: of each width's loss; 1 each if None.

    Raises:
        ConfigurationError: a setting is out of range, or the weights are not one per width.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.02,
        learn_temperature: bool = False,
        symmetric: bool = False,
        matryoshka_dims: Sequence[int] = (),
        matryoshka_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        _check_temperature(temperature, learn_temperature)
        weights = [1.0] * len(matryoshka_dims) if matryoshka_weights is None else list(matryoshka_weights)
        _check_matryoshka(matryoshka_dims, weights)
        self.symmetric = symmetric
        self.matryoshka = dict(zip(matryoshka_dims, weights, strict=True))
        self._fixed = temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learn_temperature else None

    @property
    def temperature(self) -> float:
        """As it is now."""
        return self._fixed if self.log_scale is None else math.exp(-float(self.log_scale.detach()))

    def check_width(self, width: int) -> None:
        """Raise ConfigurationError if embeddings of that width cannot be cut to those asked for."""
        widest = max(self.matryoshka, default=width)
        if widest > width:
            raise ConfigurationError(
                f"matryoshka_dims has {widest}, but embeddings have {width} components; name at most that many"
            )

    def forward(self, queries: Tensor, documents: Tensor, left_out: Tensor | None = None) -> LossReport:
        """Loss of this process's queries over the documents of all.

        Args:
            queries: embeddings (B, W), normalised or not.
            documents: embeddings (M, W): the positives in the order of the queries, then H hard negatives of the
                first query, of the second, and so on; M = B * (1 + H), and the same on every process.
            left_out: (B, R * M) bool, True for documents that do not count against a query (paper, section 4.1),
                those of the first process first. A query's positive counts whatever it says.

        Raises:
            TrainingDataError: the shapes do not fit each other.
            ConfigurationError: embeddings are narrower than the Matryoshka dimensions.
        """
        _check_shapes(queries, documents, left_out)
        width = queries.shape[1]
        self.check_width(width)
        with torch.autocast(queries.device.type, enabled=False):
            directions = self._directions(queries, documents, left_out)
            scale = self._scale()
            loss = sum(
                weight * torch.stack([direction.loss(dim, scale) for direction in directions]).mean()
                for dim, weight in (self.matryoshka or {width: 1.0}).items()
            )
            assert isinstance(loss, Tensor)
            accuracy = directions[0].accuracy(max(self.matryoshka, default=width))
        return LossReport(loss, accuracy, directions[0].masked_share())

    def _scale(self) -> Tensor | float:
        if self.log_scale is None:
            return 1 / self._fixed
        with torch.no_grad():
            # Put back before it is used. Clamped in the graph, it would have no gradient that could bring it back.
            self.log_scale.clamp_(*(-math.log(end) for end in reversed(_LEARNED_RANGE)))
        return self.log_scale.exp()

    def _directions(self, queries: Tensor, documents: Tensor, left_out: Tensor | None) -> list[Contrast]:
        """To the documents, and where it is symmetric from the positives to the queries of all processes."""
        count = len(queries)
        places = torch.arange(count, device=queries.device)
        own = rank() * len(documents) + places
        directions = [contrast(queries, gathered(documents), own, left_out)]
        if self.symmetric:
            back = None if left_out is None else gathered_mask(left_out)[:, own].T
            directions.append(contrast(documents[:count], gathered(queries), rank() * count + places, back))
        return directions


def _check_temperature(temperature: float, learned: bool) -> None:
    least, most = _LEARNED_RANGE if learned else (0.0, math.inf)
    if not (0 < temperature < math.inf and least <= temperature <= most):
        raise ConfigurationError(
            f"temperature is {temperature}; give a number above 0, and one from {_LEARNED_RANGE[0]} to "
            f"{_LEARNED_RANGE[1]} if it is to be learned"
        )


def _check_matryoshka(dims: Sequence[int], weights: Sequence[float]) -> None:
    if len(set(dims)) < len(dims) or any(dim < 1 for dim in dims):
        raise ConfigurationError(f"matryoshka_dims are {list(dims)}; give distinct widths of at least 1")
    if len(weights) != len(dims) or not all(0 < weight < math.inf for weight in weights):
        raise ConfigurationError(
            f"matryoshka_weights are {list(weights)} for {len(dims)} matryoshka_dims; give one above 0 for each"
        )


def _check_shapes(queries: Tensor, documents: Tensor, left_out: Tensor | None) -> None:
    if len(queries) == 0 or len(documents) == 0 or len(documents) % len(queries):
        raise TrainingDataError(
            f"{len(documents)} documents do not go with {len(queries)} queries; give each query its positive and as "
            f"many hard negatives as every other"
        )
    expected = (len(queries), world_size() * len(documents))
    if left_out is not None and (left_out.shape != expected or left_out.dtype != torch.bool):
        raise TrainingDataError(
            f"left_out must be bool {expected}, a row for each query and a column for each document of all processes, "
            f"found {left_out.dtype} {tuple(left_out.shape)}"
        )
