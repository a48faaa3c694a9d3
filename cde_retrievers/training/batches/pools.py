"""What batches are drawn within: a domain, or the small domains of a set together.

Natural questions, say, have one domain per Wikipedia page, and hardly any of them fills a batch. Their clusters are
then sought over all these pages, rather than that pages are laid end to end as they come.

Axes: n pairs, B pairs of a batch.
"""

import numpy as np

from cde_retrievers.training.pairs.pairs import Indices, TrainingPairs

_BEHIND_SET = "/"  # as in the names that `read_pairs` gives domains


def pools_of(pairs: TrainingPairs, rows: Indices, batch_size: int) -> Indices:
    """The pool of each pair -> (n,): its domain, or with other small ones of the set if it fills no batch.

    Args:
        pairs: n of them.
        rows: those that are trained on.
        batch_size: B.
    """
    sizes = np.bincount(pairs.domain_of[rows], minlength=len(pairs.domains))
    pools = np.arange(len(pairs.domains))
    small_ones: dict[str, int] = {}
    for domain in np.flatnonzero(sizes < batch_size).tolist():
        pools[domain] = small_ones.setdefault(_set_of(pairs.domains[domain]), domain)
    pooled: Indices = pools[pairs.domain_of]
    return pooled


def _set_of(domain: str) -> str:
    """What stands before the last part of a domain's name; nothing for a name of one part."""
    return domain.rpartition(_BEHIND_SET)[0]
