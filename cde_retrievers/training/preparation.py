"""The work before the first step: pairs are embedded, clustered and tokenised, and get a loader of batches."""

import logging

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches.collator import Collator, ProcessShard, TokenTable
from cde_retrievers.training.batches.sampler import PairBatchSampler, contextual_batches, random_batches
from cde_retrievers.training.batches.step_plan import ContextSampler, StepDataset, StepPlan
from cde_retrievers.training.batches.surrogate import PairVectors, context_vectors, embed_pairs
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.pairs import TrainingPairs, with_gathered_negatives
from cde_retrievers.training.trainable_model import TrainableModel, context_size

logger = logging.getLogger(__name__)


class StepLoader(DataLoader[StepPlan]):
    """The `DataLoader` of a run. transformers' Trainer sets its epoch, which it passes on to its sampler.

    Args:
        sampler: chooses the pairs of each batch.
        dataset: adds the other documents of the step.
        collator: makes tensors of them.
        config: of the run.

    Attributes:
        batches: the sampler.
    """

    def __init__(
        self, sampler: PairBatchSampler, dataset: StepDataset, collator: Collator, config: TrainingConfig
    ) -> None:
        self.batches = sampler
        workers = config.dataloader_num_workers
        super().__init__(
            dataset,
            batch_sampler=sampler,  # type: ignore[arg-type]  # torch's types know lists of rows only
            collate_fn=collator,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=config.dataloader_prefetch_factor,
            pin_memory=config.dataloader_pin_memory and config.device.type == "cuda",
            persistent_workers=config.dataloader_persistent_workers and workers > 0,
        )

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration."""
        self.batches.set_epoch(epoch)


def prepare(
    pairs: TrainingPairs, encoder: ContextualEncoder, trainable: TrainableModel, config: TrainingConfig
) -> StepLoader:
    """The loader of a run. Vectors and clusters are kept on disk, where a later or parallel run finds them.

    Raises:
        TrainingDataError: the pairs do not fill a batch, or a pair has no hard negatives although `config` asks for
            them.
        ConfigurationError: the model cannot read this number of context documents, or the processes cannot share it.
    """
    pairs = with_gathered_negatives(pairs)
    hard_negatives = negatives_per_query(pairs, config)
    context = _context_sampler(pairs, encoder, trainable, config)
    vectors = _surrogate_vectors(pairs, encoder, config)
    sampler = _sampler(pairs, vectors, config)
    frozen: NDArray[np.float32] | None = None
    if context is not None and not trainable.module.train_first_stage:
        frozen = context_vectors(pairs, encoder, config.cache)
    collator = Collator(
        pairs,
        TokenTable(pairs.queries, encoder.config.query_prompt, encoder.tokenizer),
        TokenTable(pairs.documents, encoder.config.document_prompt, encoder.tokenizer),
        vectors,
        config.false_negative_threshold,
        ProcessShard(config.process_index, config.world_size),
        frozen,
    )
    return StepLoader(sampler, StepDataset(pairs, hard_negatives, context), collator, config)


def negatives_per_query(pairs: TrainingPairs, config: TrainingConfig) -> int:
    """The number of hard negatives per query: that of `config`, or else 1 if every pair has one, 0 if not.

    Raises:
        TrainingDataError: a pair has none although `config` asks for them.
    """
    without = next((row for row, negatives in enumerate(pairs.negatives_of) if not negatives), None)
    if config.hard_negatives is None:
        if without is not None and any(pairs.negatives_of):
            logger.warning("hard negatives are not used, because some pairs have none, such as pair %d", without)
        return int(without is None)
    if config.hard_negatives > 0 and without is not None:
        raise TrainingDataError(
            f"hard_negatives={config.hard_negatives}, but pair {without} ({pairs[without].query[:60]!r}) has none; "
            f"find some with mine_hard_negatives, or set hard_negatives=0"
        )
    return config.hard_negatives


def _context_sampler(
    pairs: TrainingPairs, encoder: ContextualEncoder, trainable: TrainableModel, config: TrainingConfig
) -> ContextSampler | None:
    if not trainable.module.model.second_stage.reads_context:
        return None
    size = context_size(encoder, config)
    exact = getattr(encoder.config.conditioning, "context_slots", None) is not None
    sharing = int(config.world_size) if trainable.module.train_first_stage else 1
    if size < sharing or (exact and size % sharing):
        raise ConfigurationError(
            f"{sharing} processes cannot share {size} context documents evenly; start a number of processes that "
            f"divides {size}, or set train_first_stage=False"
        )
    return ContextSampler(pairs, size, from_domain=config.context_from == "domain", exact=exact, multiple_of=sharing)


def _surrogate_vectors(pairs: TrainingPairs, encoder: ContextualEncoder, config: TrainingConfig) -> PairVectors | None:
    """The vectors for clusters and false negatives; None if the run uses neither."""
    if config.batching == "random" and config.false_negative_threshold is None:
        return None
    return embed_pairs(pairs, encoder if config.surrogate is None else config.surrogate, config.cache)


def _sampler(pairs: TrainingPairs, vectors: PairVectors | None, config: TrainingConfig) -> PairBatchSampler:
    if config.batching == "random" or vectors is None:
        return random_batches(pairs, config.global_batch_size, config.seed)
    return contextual_batches(pairs, vectors, config.global_batch_size, config.cluster_size, config.seed, config.cache)
