"""Evaluation: how well a model searches judged corpora, and what context does for it."""

from typing import TYPE_CHECKING

from cde_retrievers.lazy import importer

if TYPE_CHECKING:
    from cde_retrievers.evaluation.comparing import compare
    from cde_retrievers.evaluation.comparison import Comparison
    from cde_retrievers.evaluation.contexts import Fitted, Foreign, Generic, NamedCorpus, Null, Own, Shuffled
    from cde_retrievers.evaluation.contextual import BiEncoder, Contextual
    from cde_retrievers.evaluation.evaluating import evaluate
    from cde_retrievers.evaluation.evaluation import Evaluation, mean_difference, mean_over_sets
    from cde_retrievers.evaluation.intervals import Interval
    from cde_retrievers.evaluation.known_item_queries import known_items
    from cde_retrievers.evaluation.lexical import BM25
    from cde_retrievers.evaluation.matrix import ContextMatrix, context_matrix
    from cde_retrievers.evaluation.plain import Plain
    from cde_retrievers.evaluation.searcher import Searcher
    from cde_retrievers.retrieval_set import RetrievalSet

_HOMES = {
    "BM25": "cde_retrievers.evaluation.lexical",
    "BiEncoder": "cde_retrievers.evaluation.contextual",
    "Comparison": "cde_retrievers.evaluation.comparison",
    "ContextMatrix": "cde_retrievers.evaluation.matrix",
    "Contextual": "cde_retrievers.evaluation.contextual",
    "Evaluation": "cde_retrievers.evaluation.evaluation",
    "Fitted": "cde_retrievers.evaluation.contexts",
    "Foreign": "cde_retrievers.evaluation.contexts",
    "Generic": "cde_retrievers.evaluation.contexts",
    "Interval": "cde_retrievers.evaluation.intervals",
    "NamedCorpus": "cde_retrievers.evaluation.contexts",
    "Null": "cde_retrievers.evaluation.contexts",
    "Own": "cde_retrievers.evaluation.contexts",
    "Plain": "cde_retrievers.evaluation.plain",
    "RetrievalSet": "cde_retrievers.retrieval_set",
    "Searcher": "cde_retrievers.evaluation.searcher",
    "Shuffled": "cde_retrievers.evaluation.contexts",
    "compare": "cde_retrievers.evaluation.comparing",
    "context_matrix": "cde_retrievers.evaluation.matrix",
    "evaluate": "cde_retrievers.evaluation.evaluating",
    "known_items": "cde_retrievers.evaluation.known_item_queries",
    "mean_difference": "cde_retrievers.evaluation.evaluation",
    "mean_over_sets": "cde_retrievers.evaluation.evaluation",
}

__all__ = [
    "BM25",
    "BiEncoder",
    "Comparison",
    "ContextMatrix",
    "Contextual",
    "Evaluation",
    "Fitted",
    "Foreign",
    "Generic",
    "Interval",
    "NamedCorpus",
    "Null",
    "Own",
    "Plain",
    "RetrievalSet",
    "Searcher",
    "Shuffled",
    "compare",
    "context_matrix",
    "evaluate",
    "known_items",
    "mean_difference",
    "mean_over_sets",
]


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
