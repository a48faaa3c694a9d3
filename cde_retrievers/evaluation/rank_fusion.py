"""Reciprocal rank fusion: how hybrid search is usually built by hand, from the ranks of two searches.

Source: Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
SIGIR 2009. Axes: Q queries, K hits.
"""

from dataclasses import dataclass

import numpy as np

from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.searchers import Searcher, hits_of

FUSED_DEPTH = 100
"""Hits that each search contributes."""
_K = 60


@dataclass(frozen=True, slots=True)
class ReciprocalRankFusion:
    """The 100 best documents of each of two searchers, each scored by 1 / (60 + rank) summed over both.

    Attributes:
        first: one searcher.
        second: the other one.
    """

    first: Searcher
    second: Searcher

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"RRF of {self.first.name} and {self.second.name}"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`. A document that neither searcher has among its 100 best is not found."""
        first, second = (hits_of(each, data, FUSED_DEPTH, show_progress) for each in (self.first, self.second))
        return fused_by_rank(first, second, depth)


def fused_by_rank(first: Hits, second: Hits, depth: int) -> Hits:
    """Return the `depth` best by reciprocal rank, of documents that were found by either; equal ones in corpus order.

    Args:
        first: hits of one search, at most 100 of which count.
        second: hits of another one for the same queries.
        depth: hits per query; fewer if fewer were found.
    """
    queries = len(first.rows)
    rows = np.zeros((queries, depth), dtype=np.int64)
    scores = np.full((queries, depth), -np.inf, dtype=np.float32)
    for query in range(queries):
        found = [part.rows[query][part.scores[query] > -np.inf][:FUSED_DEPTH] for part in (first, second)]
        documents, places = np.unique(np.concatenate(found), return_inverse=True)
        shares = np.concatenate([1 / (_K + 1 + np.arange(len(ranked))) for ranked in found])
        totals = np.bincount(places, shares, minlength=len(documents))
        best = np.lexsort((documents, -totals))[:depth]
        rows[query, : len(best)], scores[query, : len(best)] = documents[best], totals[best]
    return Hits(rows, scores)
