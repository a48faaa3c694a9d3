"""Which documents are the context of a training step. Axes: N context documents."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.training.pairs.pairs import TrainingPairs

Rows = NDArray[np.int64]


class ContextChoice:
    """Chooses context documents at random among those of the batch (docs/method.md), the same for all its texts.

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
