"""Training: pairs, contextual batches, and both stages of a model under one contrastive loss."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cde_retrievers.training.arguments import TrainingConfig
    from cde_retrievers.training.data_report import check_enough, report_on
    from cde_retrievers.training.loss import ContrastiveLoss
    from cde_retrievers.training.made import MadePairs, pairs_from_corpus
    from cde_retrievers.training.mining import mine_hard_negatives
    from cde_retrievers.training.objective import ContrastiveModel
    from cde_retrievers.training.pairs import Pair, TrainingPairs
    from cde_retrievers.training.pairs_report import PairsReport
    from cde_retrievers.training.reading import read_pairs
    from cde_retrievers.training.replay import replayed
    from cde_retrievers.training.run import TrainingResult, train
    from cde_retrievers.training.run_file import train_from_file
    from cde_retrievers.training.schedule import BatchSchedule, contextual_schedule, random_schedule
    from cde_retrievers.training.surrogate import PairVectors, embed_pairs
    from cde_retrievers.training.trainer import ContextualTrainer
    from cde_retrievers.training.two_stage import two_stage_embeddings

__all__ = [
    "BatchSchedule",
    "ContextualTrainer",
    "ContrastiveLoss",
    "ContrastiveModel",
    "MadePairs",
    "Pair",
    "PairVectors",
    "PairsReport",
    "TrainingConfig",
    "TrainingPairs",
    "TrainingResult",
    "check_enough",
    "contextual_schedule",
    "embed_pairs",
    "mine_hard_negatives",
    "pairs_from_corpus",
    "random_schedule",
    "read_pairs",
    "replayed",
    "report_on",
    "train",
    "train_from_file",
    "two_stage_embeddings",
]

_HOMES = {
    "BatchSchedule": "cde_retrievers.training.schedule",
    "ContextualTrainer": "cde_retrievers.training.trainer",
    "ContrastiveLoss": "cde_retrievers.training.loss",
    "ContrastiveModel": "cde_retrievers.training.objective",
    "MadePairs": "cde_retrievers.training.made",
    "Pair": "cde_retrievers.training.pairs",
    "PairVectors": "cde_retrievers.training.surrogate",
    "PairsReport": "cde_retrievers.training.pairs_report",
    "TrainingConfig": "cde_retrievers.training.arguments",
    "TrainingPairs": "cde_retrievers.training.pairs",
    "TrainingResult": "cde_retrievers.training.run",
    "check_enough": "cde_retrievers.training.data_report",
    "contextual_schedule": "cde_retrievers.training.schedule",
    "embed_pairs": "cde_retrievers.training.surrogate",
    "mine_hard_negatives": "cde_retrievers.training.mining",
    "pairs_from_corpus": "cde_retrievers.training.made",
    "random_schedule": "cde_retrievers.training.schedule",
    "read_pairs": "cde_retrievers.training.reading",
    "replayed": "cde_retrievers.training.replay",
    "report_on": "cde_retrievers.training.data_report",
    "train": "cde_retrievers.training.run",
    "train_from_file": "cde_retrievers.training.run_file",
    "two_stage_embeddings": "cde_retrievers.training.two_stage",
}


def __getattr__(name: str) -> object:
    # Lazy, because transformers' Trainer takes seconds to import, and pairs can be read without it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
