"""Training: pairs, contextual batches, and both stages of a model under one contrastive loss."""

from typing import TYPE_CHECKING

from cde_retrievers.lazy import importer

if TYPE_CHECKING:
    from cde_retrievers.training.base_model import encoder_to_train
    from cde_retrievers.training.batches.hard_negatives import mine_hard_negatives
    from cde_retrievers.training.batches.schedule import BatchSchedule, contextual_schedule, random_schedule
    from cde_retrievers.training.batches.surrogate import PairVectors, embed_pairs
    from cde_retrievers.training.config import TrainingConfig
    from cde_retrievers.training.data.from_corpus import MadePairs, pairs_from_corpus
    from cde_retrievers.training.data.pairs import Pair, TrainingPairs
    from cde_retrievers.training.data.read import read_pairs
    from cde_retrievers.training.data.report import PairsReport, check_enough, report_on
    from cde_retrievers.training.losses.contrastive import ContrastiveLoss
    from cde_retrievers.training.losses.gradient_cache import replayed
    from cde_retrievers.training.losses.two_stage import two_stage_embeddings
    from cde_retrievers.training.model import ContrastiveModel
    from cde_retrievers.training.run import TrainingResult, train
    from cde_retrievers.training.run_file import train_from_file
    from cde_retrievers.training.trainer import ContextualTrainer

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
    "encoder_to_train",
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
    "BatchSchedule": "cde_retrievers.training.batches.schedule",
    "ContextualTrainer": "cde_retrievers.training.trainer",
    "ContrastiveLoss": "cde_retrievers.training.losses.contrastive",
    "ContrastiveModel": "cde_retrievers.training.model",
    "MadePairs": "cde_retrievers.training.data.from_corpus",
    "Pair": "cde_retrievers.training.data.pairs",
    "PairVectors": "cde_retrievers.training.batches.surrogate",
    "PairsReport": "cde_retrievers.training.data.report",
    "TrainingConfig": "cde_retrievers.training.config",
    "TrainingPairs": "cde_retrievers.training.data.pairs",
    "TrainingResult": "cde_retrievers.training.run",
    "check_enough": "cde_retrievers.training.data.report",
    "contextual_schedule": "cde_retrievers.training.batches.schedule",
    "embed_pairs": "cde_retrievers.training.batches.surrogate",
    "encoder_to_train": "cde_retrievers.training.base_model",
    "mine_hard_negatives": "cde_retrievers.training.batches.hard_negatives",
    "pairs_from_corpus": "cde_retrievers.training.data.from_corpus",
    "random_schedule": "cde_retrievers.training.batches.schedule",
    "read_pairs": "cde_retrievers.training.data.read",
    "replayed": "cde_retrievers.training.losses.gradient_cache",
    "report_on": "cde_retrievers.training.data.report",
    "train": "cde_retrievers.training.run",
    "train_from_file": "cde_retrievers.training.run_file",
    "two_stage_embeddings": "cde_retrievers.training.losses.two_stage",
}


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
