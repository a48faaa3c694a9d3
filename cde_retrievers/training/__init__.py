"""Training: pairs, contextual batches, and both stages of a model under one contrastive loss.

The names here are the public ones. `data` reads and describes pairs, `batches` makes batches of them, `losses` has the
loss and the gradient cache of both stages, and `run` has `train`, which puts them together.
"""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.training.batches.hard_negatives import mine_hard_negatives
    from cde_retrievers.training.config import TrainingConfig
    from cde_retrievers.training.data.from_corpus import pairs_from_corpus
    from cde_retrievers.training.data.pairs import Pair, TrainingPairs
    from cde_retrievers.training.data.read import read_pairs
    from cde_retrievers.training.run import TrainingResult, train
    from cde_retrievers.training.run_file import train_from_file
    from cde_retrievers.training.trainer import ContextualTrainer

__all__ = [
    "ContextualTrainer",
    "Pair",
    "TrainingConfig",
    "TrainingPairs",
    "TrainingResult",
    "mine_hard_negatives",
    "pairs_from_corpus",
    "read_pairs",
    "train",
    "train_from_file",
]

_HOMES = {
    "ContextualTrainer": "cde_retrievers.training.trainer",
    "Pair": "cde_retrievers.training.data.pairs",
    "TrainingConfig": "cde_retrievers.training.config",
    "TrainingPairs": "cde_retrievers.training.data.pairs",
    "TrainingResult": "cde_retrievers.training.run",
    "mine_hard_negatives": "cde_retrievers.training.batches.hard_negatives",
    "pairs_from_corpus": "cde_retrievers.training.data.from_corpus",
    "read_pairs": "cde_retrievers.training.data.read",
    "train": "cde_retrievers.training.run",
    "train_from_file": "cde_retrievers.training.run_file",
}


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
