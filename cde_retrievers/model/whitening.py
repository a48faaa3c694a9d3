"""Closed-form conditioning for any bi-encoder. Axes: B texts, L tokens, N context vectors, W width."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.second_stage import SecondStage


@dataclass(frozen=True, slots=True)
class WhiteningMap:
    """The map from plain unit embeddings to a context: subtract `mean` (W,), then multiply by `matrix` (W, W).

    With one context per text both have a leading axis B.
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Map plain unit embeddings (B, W) -> embeddings under the context (B, W), not normalised."""
        return ((embeddings - self.mean).unsqueeze(-2) @ self.matrix).squeeze(-2)


def fit_whitening(context_vectors: Tensor, power: float, shrinkage: float) -> WhiteningMap:
    """Fit S^(-power/2) (e - m) to the unit context vectors; context_vectors (N, W).

    Repeated vectors (a small corpus fills its context by repetition) count once. Power 0 is the identity, and so is
    the map of a single vector, such as that of null vectors, which has no statistics. The map is constant: no gradient
    flows back into the context vectors.
    """
    # On the CPU, because not every accelerator has float64 and this runs once per context.
    vectors = normalize(torch.unique(context_vectors.detach().to("cpu", torch.float64), dim=0), dim=-1)
    tells = power > 0 and len(vectors) > 1
    mean, matrix = _statistics(vectors, power, shrinkage) if tells else _identity(vectors)
    device = context_vectors.device
    return WhiteningMap(mean.to(device, torch.float32), matrix.to(device, torch.float32))


def on_queries_alone(whiten: WhiteningMap) -> WhiteningMap:
    """Return the map of queries whose documents stay plain unit vectors d: q -> W W q.

    Its product with d is that of W q with W d, where W is the symmetric matrix. The mean is not subtracted: that cost
    on training sets (`docs/hybrid.md`).
    """
    return WhiteningMap(torch.zeros_like(whiten.mean), whiten.matrix @ whiten.matrix)


def fit_whitening_each(context_vectors: Tensor, power: float, shrinkage: float) -> WhiteningMap:
    """Apply `fit_whitening` to one context (N, W), or to each of B contexts (B, N, W)."""
    if context_vectors.ndim == 2:
        return fit_whitening(context_vectors, power, shrinkage)
    maps = [fit_whitening(vectors, power, shrinkage) for vectors in context_vectors]
    return WhiteningMap(torch.stack([m.mean for m in maps]), torch.stack([m.matrix for m in maps]))


def _identity(vectors: Tensor) -> tuple[Tensor, Tensor]:
    width = vectors.shape[-1]
    return torch.zeros(width), torch.eye(width)


def _statistics(vectors: Tensor, power: float, shrinkage: float) -> tuple[Tensor, Tensor]:
    mean = vectors.mean(dim=0)
    width = vectors.shape[-1]
    # A few hundred vectors span little of a wide space, so this is far less work than all directions of a covariance.
    _, lengths, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    variances = lengths.square() / len(vectors)
    # The smallest normal number keeps a context of identical vectors from dividing by zero.
    added = shrinkage * (variances.sum() / width).clamp(min=torch.finfo(torch.float32).tiny)
    elsewhere = added ** (-power / 2)  # the gain of directions in which the context does not vary
    gains = (variances + added) ** (-power / 2) - elsewhere
    return mean, elsewhere * torch.eye(width, dtype=vectors.dtype) + (directions.T * gains) @ directions


class WhiteningSecondStage(SecondStage[WhiteningMap]):
    """Whitens the first stage's embeddings by the context's statistics; it has no weights of its own."""

    def __init__(self, first_stage: nn.Module, width: int, settings: WhiteningConditioning) -> None:
        super().__init__(width)
        self.first_stage = first_stage
        self.settings = settings

    @property
    def reads_context(self) -> bool:
        """Power 0 switches the context off."""
        return self.settings.power > 0

    @property
    def trains_context(self) -> bool:
        """The context's statistics are constants; only the path of the texts is trained."""
        return False

    def prepare(self, context_vectors: Tensor, sequence_dropout: float = 0.0) -> WhiteningMap:
        """Compute mean and matrix of one context (N, W), or of each of B contexts (B, N, W).

        They are constants: no gradient flows through the statistics into the context vectors. There is no null
        vector, so `sequence_dropout` must be 0.
        """
        self.check_sequence_dropout(sequence_dropout)
        return fit_whitening_each(context_vectors, self.settings.power, self.settings.shrinkage)

    def embed(self, input_ids: Tensor, attention_mask: Tensor, prepared: WhiteningMap) -> Tensor:
        """Embed token ids and mask (B, L) -> (B, W) float32; the map is always applied in full precision."""
        plain = self.first_stage(input_ids, attention_mask).float()
        return prepared(normalize(plain, dim=-1))
