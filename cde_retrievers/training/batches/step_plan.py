"""Which pairs, hard negatives and context documents make up a step, before any tensor is made.

Everything random here comes from a generator seeded by (seed, epoch, step), so that a resumed run goes on with what
would have come, and all processes agree.

Axes: G pairs of a global batch, H hard negatives per query, N context documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.training.data.pairs import TrainingPairs

Rows = NDArray[np.int64]


class ContextChoice:
    """Chooses context documents at random among those of the batch (specification 3.4), the same for all its texts.

    The positive of a query may be among them, as it may when a corpus stands for itself.

    Args:
        pairs: what is trained on.
        size: N at most.
        from_domain: whether other documents of the batch's domains fill up what the batch leaves free.
        exact: whether the model reads exactly N vectors; fewer documents are then repeated in turn.
        multiple_of: N is cut to a multiple of this, so that processes can share the work evenly.
    """

    def __init__(
        self, pairs: TrainingPairs, size: int, *, from_domain: bool = False, exact: bool = False, multiple_of: int = 1
    ) -> None:
        self._size = size
        self._exact = exact
        self._multiple_of = multiple_of
        self._documents_of = _documents_by_domain(pairs) if from_domain else None

    def choose(self, batch: Rows, domains: Rows, chance: np.random.Generator) -> Rows:
        """Document rows (N,).

        Args:
            batch: rows of all documents of the batch, repeated ones too.
            domains: rows of the domains of its pairs.
            chance: where the order comes from.
        """
        # Distinct ones by sorting, so that the choice depends on the set of documents only.
        chosen = chance.permutation(np.unique(batch))[: self._size]
        if self._documents_of is not None and len(chosen) < self._size:
            pool = np.concatenate([self._documents_of[domain] for domain in np.unique(domains)])
            chosen = np.concatenate([chosen, _others(pool, chosen, self._size - len(chosen), chance)])
        if self._exact:
            return np.resize(chosen, self._size)
        whole = len(chosen) - len(chosen) % self._multiple_of
        return np.resize(chosen, max(whole, self._multiple_of))


def _others(pool: Rows, taken: Rows, missing: int, chance: np.random.Generator) -> Rows:
    """At most `missing` distinct rows of the pool that are not taken."""
    # The taken ones may all be drawn, and a document of two domains twice: drawing more than enough is still cheap.
    drawn = pool[chance.choice(len(pool), min(len(pool), 2 * missing + 2 * len(taken)), replace=False)]
    known = set(taken.tolist())
    fresh = [row for row in dict.fromkeys(drawn.tolist()) if row not in known]
    return np.asarray(fresh[:missing], dtype=np.int64)


def _documents_by_domain(pairs: TrainingPairs) -> list[Rows]:
    found: list[set[int]] = [set() for _ in pairs.domains]
    rows: Iterable[tuple[int, int, tuple[int, ...]]] = zip(
        pairs.domain_of.tolist(), pairs.positive_of.tolist(), pairs.negatives_of, strict=True
    )
    for domain, positive, negatives in rows:
        found[domain].update((positive, *negatives))
    return [np.asarray(sorted(documents), dtype=np.int64) for documents in found]


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
        """H of a pair's negatives, each once as long as there are enough (specification 3.1)."""
        if self._hard_negatives == 0:
            return np.empty(0, dtype=np.int64)
        known = np.asarray(self._pairs.negatives_of[row], dtype=np.int64)
        return np.resize(chance.permutation(known), self._hard_negatives)
