"""Which pairs, hard negatives and context documents make up a step, before any tensor is made.

Everything random here comes from a generator seeded by (seed, epoch, step), so that a resumed run goes on with what
would have come, and all processes agree.

Axes: G pairs of a global batch, H hard negatives per query, N context documents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.training.pairs.pairs import TrainingPairs
from cde_retrievers.training.steps.context_choice import ContextChoice

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step as row numbers.

    Attributes:
        pairs: rows of pairs (G,).
        positives: document row of each pair's positive (G,).
        negatives: document rows of each pair's hard negatives (G, H).
        context: document rows of the context (N,); None for a model that has no use for one.
    """

    pairs: Rows
    positives: Rows
    negatives: Rows
    context: Rows | None

    def documents(self, start: int, stop: int) -> Rows:
        """Documents of pairs `start` to `stop`: their positives in order, then the hard negatives of each in turn."""
        return np.concatenate([self.positives[start:stop], self.negatives[start:stop].ravel()])


class StepPlanner:
    """Plans steps.

    Args:
        pairs: what is trained on.
        hard_negatives: H; every pair must have at least one negative unless it is 0.
        context: how context documents are chosen; None for a model without a context.
        seed: of every choice.
    """

    def __init__(self, pairs: TrainingPairs, hard_negatives: int, context: ContextChoice | None, seed: int) -> None:
        self._pairs = pairs
        self._hard_negatives = hard_negatives
        self._context = context
        self._seed = seed

    def plan(self, batch: Rows, epoch: int, step: int) -> StepPlan:
        """The step that a global batch of pair rows (G,) makes.

        Args:
            batch: rows of pairs.
            epoch: counted from 0.
            step: of the epoch, counted from 0.
        """
        chance = np.random.default_rng([self._seed, epoch, step])
        positives = self._pairs.positive_of[batch]
        negatives = np.stack([self._negatives(row, chance) for row in batch])
        plan = StepPlan(batch, positives, negatives, None)
        if self._context is None:
            return plan
        context = self._context.choose(plan.documents(0, len(batch)), self._pairs.domain_of[batch], chance)
        return StepPlan(batch, positives, negatives, context)

    def _negatives(self, row: int, chance: np.random.Generator) -> Rows:
        """H of a pair's negatives, each once as long as there are enough."""
        if self._hard_negatives == 0:
            return np.empty(0, dtype=np.int64)
        known = np.asarray(self._pairs.negatives_of[row], dtype=np.int64)
        return np.resize(chance.permutation(known), self._hard_negatives)
