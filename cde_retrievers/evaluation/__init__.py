"""Evaluation: how well a model searches judged corpora, and what context does for it."""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.evaluation.bm25 import BM25
    from cde_retrievers.evaluation.comparison import Comparison
    from cde_retrievers.evaluation.comparison_run import compare
    from cde_retrievers.evaluation.contexts import (
        FittedContext,
        ForeignContext,
        GenericContext,
        NamedCorpus,
        NullContext,
        OwnContext,
        ShuffledContext,
    )
    from cde_retrievers.evaluation.dataset import RetrievalDataset, RetrievalSet
    from cde_retrievers.evaluation.evaluator import evaluate
    from cde_retrievers.evaluation.known_item_queries import known_items
    from cde_retrievers.evaluation.matrix import ContextMatrix, context_matrix
    from cde_retrievers.evaluation.metrics import Interval
    from cde_retrievers.evaluation.question_set import own_questions
    from cde_retrievers.evaluation.rank_fusion import ReciprocalRankFusion
    from cde_retrievers.evaluation.results import Evaluation, mean_difference, mean_over_sets
    from cde_retrievers.evaluation.searchers import BiEncoder, Contextual, Plain, PlainEmbedding, Searcher

_HOMES = {
    "BM25": "cde_retrievers.evaluation.bm25",
    "BiEncoder": "cde_retrievers.evaluation.searchers",
    "Comparison": "cde_retrievers.evaluation.comparison",
    "ContextMatrix": "cde_retrievers.evaluation.matrix",
    "Contextual": "cde_retrievers.evaluation.searchers",
    "Evaluation": "cde_retrievers.evaluation.results",
    "FittedContext": "cde_retrievers.evaluation.contexts",
    "ForeignContext": "cde_retrievers.evaluation.contexts",
    "GenericContext": "cde_retrievers.evaluation.contexts",
    "Interval": "cde_retrievers.evaluation.metrics",
    "NamedCorpus": "cde_retrievers.evaluation.contexts",
    "NullContext": "cde_retrievers.evaluation.contexts",
    "OwnContext": "cde_retrievers.evaluation.contexts",
    "Plain": "cde_retrievers.evaluation.searchers",
    "PlainEmbedding": "cde_retrievers.evaluation.searchers",
    "ReciprocalRankFusion": "cde_retrievers.evaluation.rank_fusion",
    "RetrievalSet": "cde_retrievers.evaluation.dataset",
    "RetrievalDataset": "cde_retrievers.evaluation.dataset",
    "Searcher": "cde_retrievers.evaluation.searchers",
    "ShuffledContext": "cde_retrievers.evaluation.contexts",
    "compare": "cde_retrievers.evaluation.comparison_run",
    "context_matrix": "cde_retrievers.evaluation.matrix",
    "evaluate": "cde_retrievers.evaluation.evaluator",
    "known_items": "cde_retrievers.evaluation.known_item_queries",
    "mean_difference": "cde_retrievers.evaluation.results",
    "mean_over_sets": "cde_retrievers.evaluation.results",
    "own_questions": "cde_retrievers.evaluation.question_set",
}

__all__ = [
    "BM25",
    "BiEncoder",
    "Comparison",
    "ContextMatrix",
    "Contextual",
    "Evaluation",
    "FittedContext",
    "ForeignContext",
    "GenericContext",
    "Interval",
    "NamedCorpus",
    "NullContext",
    "OwnContext",
    "Plain",
    "PlainEmbedding",
    "ReciprocalRankFusion",
    "RetrievalDataset",
    "RetrievalSet",
    "Searcher",
    "ShuffledContext",
    "compare",
    "context_matrix",
    "evaluate",
    "known_items",
    "mean_difference",
    "mean_over_sets",
    "own_questions",
]


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
