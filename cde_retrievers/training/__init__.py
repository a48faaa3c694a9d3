"""Training: pairs, contextual batches, and both stages of a model under one contrastive loss."""

from typing import TYPE_CHECKING

from cde_retrievers.lazy import importer

if TYPE_CHECKING:
    from cde_retrievers.training.batches.mining import mine_hard_negatives
    from cde_retrievers.training.batches.schedule import BatchSchedule, contextual_schedule, random_schedule
    from cde_retrievers.training.batches.surrogate import PairVectors, embed_pairs
    from cde_retrievers.training.objective.contrastive_model import ContrastiveModel
    from cde_retrievers.training.objective.loss import ContrastiveLoss
    from cde_retrievers.training.objective.replay import replayed
    from cde_retrievers.training.objective.two_stage import two_stage_embeddings
    from cde_retrievers.training.pairs.data_report import check_enough, report_on
    from cde_retrievers.training.pairs.made import MadePairs, pairs_from_corpus
    from cde_retrievers.training.pairs.pairs import Pair, TrainingPairs
    from cde_retrievers.training.pairs.pairs_report import PairsReport
    from cde_retrievers.training.pairs.reading import read_pairs
    from cde_retrievers.training.run.arguments import TrainingConfig
    from cde_retrievers.training.run.base_model import encoder_to_train
    from cde_retrievers.training.run.run_file import train_from_file
    from cde_retrievers.training.run.trainer import ContextualTrainer
    from cde_retrievers.training.run.training_run import TrainingResult, train

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
    "ContextualTrainer": "cde_retrievers.training.run.trainer",
    "ContrastiveLoss": "cde_retrievers.training.objective.loss",
    "ContrastiveModel": "cde_retrievers.training.objective.contrastive_model",
    "MadePairs": "cde_retrievers.training.pairs.made",
    "Pair": "cde_retrievers.training.pairs.pairs",
    "PairVectors": "cde_retrievers.training.batches.surrogate",
    "PairsReport": "cde_retrievers.training.pairs.pairs_report",
    "TrainingConfig": "cde_retrievers.training.run.arguments",
    "TrainingPairs": "cde_retrievers.training.pairs.pairs",
    "TrainingResult": "cde_retrievers.training.run.training_run",
    "check_enough": "cde_retrievers.training.pairs.data_report",
    "contextual_schedule": "cde_retrievers.training.batches.schedule",
    "embed_pairs": "cde_retrievers.training.batches.surrogate",
    "encoder_to_train": "cde_retrievers.training.run.base_model",
    "mine_hard_negatives": "cde_retrievers.training.batches.mining",
    "pairs_from_corpus": "cde_retrievers.training.pairs.made",
    "random_schedule": "cde_retrievers.training.batches.schedule",
    "read_pairs": "cde_retrievers.training.pairs.reading",
    "replayed": "cde_retrievers.training.objective.replay",
    "report_on": "cde_retrievers.training.pairs.data_report",
    "train": "cde_retrievers.training.run.training_run",
    "train_from_file": "cde_retrievers.training.run.run_file",
    "two_stage_embeddings": "cde_retrievers.training.objective.two_stage",
}


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
