"""The sparse view of a text under a context: terms, their statistics, and BM25 rows whose products are scores.

`Analyzer` and `TermStatistics` may be imported from here.
"""

from cde_retrievers.sparse.analyzer import Analyzer
from cde_retrievers.sparse.term_statistics import TermStatistics

__all__ = ["Analyzer", "TermStatistics"]
