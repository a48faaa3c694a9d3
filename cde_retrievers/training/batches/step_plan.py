"""The documents of a step: positives, hard negatives and context.

All random choices come from the batch's seed: all processes agree, and a resumed run repeats them.

Axes: G pairs of a global batch, H hard negatives per query, N context documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cde_retrievers.training.batches.sampler import PairBatch
from cde_retrievers.training.data.pairs import TrainingPairs

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step as row numbers.

    Attributes:
        pairs: rows of pairs (G,).
        positives: document row of each pair's positive (G,).
        negatives: document rows of each pair's hard negatives (G, H).
        context: document rows of the context (N,); None for a model that reads none.
    """

    pairs: Rows
    positives: Rows
    negatives: Rows
    context: Rows | None

    def documents(self, start: int, stop: int) -> Rows:
        """Documents of pairs `start` to `stop`: their positives in order, then the hard negatives of each in turn."""
        return np.concatenate([self.positives[start:stop], self.negatives[start:stop].ravel()])


class ContextSampler:
    """Draws the context documents of a step from those of the batch, the same for all its texts.

    They may include the positive of a query, as they may when a corpus is its own context.

    Args:
        pairs: to train on.
        size: N, at most.
        from_domain: whether other documents of the batch's domains fill the context up.
        exact: whether the model reads exactly N vectors; too few documents are then repeated.
        multiple_of: N is cut to a multiple of this, so that processes share the work evenly.
    """

    def __init__(
        self, pairs: TrainingPairs, size: int, *, from_domain: bool = False, exact: bool = False, multiple_of: int = 1
    ) -> None:
        self._size = size
        self._exact = exact
        self._multiple_of = multiple_of
        self._documents_of = _documents_by_domain(pairs) if from_domain else None

    def draw(self, batch: Rows, domains: Rows, rng: Generator) -> Rows:
        """The document rows (N,) of a context, in random order.

        Args:
            batch: rows of all documents of the batch, with repetitions.
            domains: rows of the domains of its pairs.
            rng: chooses.
        """
        # Sorted, so that the choice depends on the set of documents only.
        chosen = rng.permutation(np.unique(batch))[: self._size]
        if self._documents_of is not None and len(chosen) < self._size:
            pool = np.concatenate([self._documents_of[domain] for domain in np.unique(domains)])
            chosen = np.concatenate([chosen, _others(pool, chosen, self._size - len(chosen), rng)])
        if self._exact:
            return np.resize(chosen, self._size)
        whole = len(chosen) - len(chosen) % self._multiple_of
        return np.resize(chosen, max(whole, self._multiple_of))


class StepDataset(Dataset[StepPlan]):
    """The data set of a `DataLoader`: from a batch of pairs to the documents of its step.

    Args:
        pairs: to train on.
        hard_negatives: H; unless it is 0 every pair must have a negative.
        context: None for a model that reads no context.
    """

    def __init__(self, pairs: TrainingPairs, hard_negatives: int, context: ContextSampler | None) -> None:
        self._pairs = pairs
        self._hard_negatives = hard_negatives
        self._context = context

    def plan(self, batch: PairBatch) -> StepPlan:
        """The documents of a global batch of pairs."""
        rng = np.random.default_rng(batch.seed)
        positives = self._pairs.positive_of[batch.rows]
        negatives = np.stack([self._negatives(row, rng) for row in batch.rows])
        context = None
        if self._context is not None:
            documents = np.concatenate([positives, negatives.ravel()])
            context = self._context.draw(documents, self._pairs.domain_of[batch.rows], rng)
        return StepPlan(batch.rows, positives, negatives, context)

    __getitems__ = plan  # a `DataLoader` gets a whole batch by this name

    def _negatives(self, row: int, rng: Generator) -> Rows:
        """H of a pair's negatives; repeated if there are fewer."""
        if self._hard_negatives == 0:
            return np.empty(0, dtype=np.int64)
        known = np.asarray(self._pairs.negatives_of[row], dtype=np.int64)
        return np.resize(rng.permutation(known), self._hard_negatives)


def _others(pool: Rows, taken: Rows, missing: int, rng: Generator) -> Rows:
    """At most `missing` distinct rows of the pool that are not taken."""
    # Taken ones may be drawn, and a document of two domains twice, so that more are drawn than needed.
    drawn = pool[rng.choice(len(pool), min(len(pool), 2 * missing + 2 * len(taken)), replace=False)]
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
