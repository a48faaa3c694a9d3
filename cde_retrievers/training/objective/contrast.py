"""One direction of a contrastive loss: each anchor has its own candidate among many.

Axes: B anchors, K candidates, W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


@dataclass(frozen=True, slots=True)
class Contrast:
    """Anchors against candidates; make one with `contrast`.

    Attributes:
        anchors: (B, W), of any length.
        candidates: (K, W), likewise.
        own: which candidate belongs to each anchor, (B,).
        left_out: (B, K) bool, True for what does not count; never an anchor's own candidate.
    """

    anchors: Tensor
    candidates: Tensor
    own: Tensor
    left_out: Tensor

    def scores(self, width: int, scale: Tensor | float = 1.0) -> Tensor:
        """`scale` times the cosine similarity of the first `width` components, (B, K); -inf for what is left out."""
        cosine = normalize(self.anchors[:, :width], dim=-1) @ normalize(self.candidates[:, :width], dim=-1).T
        # After scaling: the gradient of a learned scale would be 0 times -inf.
        return (scale * cosine).masked_fill(self.left_out, -torch.inf)

    def loss(self, width: int, scale: Tensor | float) -> Tensor:
        """Mean over the anchors of -log softmax(scores) at their own candidate (paper, equation 1); scalar."""
        return cross_entropy(self.scores(width, scale), self.own)

    @torch.no_grad()
    def accuracy(self, width: int) -> Tensor:
        """Share of the anchors that score their own candidate highest; scalar."""
        return (self.scores(width).argmax(dim=1) == self.own).float().mean()

    def masked_share(self) -> Tensor:
        """Share left out of all that are not an anchor's own; 0 where there is no other; scalar."""
        others = self.left_out.numel() - len(self.own)
        return self.left_out.sum().float() / max(others, 1)


def contrast(anchors: Tensor, candidates: Tensor, own: Tensor, left_out: Tensor | None) -> Contrast:
    """In float32, with an anchor's own candidate counting whatever `left_out` (B, K) says of it."""
    if left_out is None:
        left_out = torch.zeros(len(anchors), len(candidates), dtype=torch.bool, device=anchors.device)
    kept = left_out.scatter(1, own.unsqueeze(1), False)
    return Contrast(anchors.float(), candidates.float(), own, kept)
