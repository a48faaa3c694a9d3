"""What can be evaluated: whatever finds documents for queries."""

from typing import Protocol, runtime_checkable

from cde_retrievers.hits import Hits
from cde_retrievers.retrieval_set import RetrievalSet


@runtime_checkable
class Searcher(Protocol):
    """Finds documents for queries. `Contextual`, `Plain` and `BM25` are some."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def search(self, data: RetrievalSet, depth: int, show_progress: bool | None = None) -> Hits:
        """The `depth` best documents of each query of a set, or all where the corpus has fewer.

        Args:
            data: corpus and queries.
            depth: hits per query.
            show_progress: True or False, or None for a bar only where the work is long.
        """
