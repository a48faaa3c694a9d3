"""From pairs and settings to the steps of a run: what is computed once, before the first step."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches.collator import Collator, ProcessShard, TokenTable
from cde_retrievers.training.batches.sampler import PairBatchSampler, contextual_batches, random_batches
from cde_retrievers.training.batches.step_plan import ContextSampler, StepDataset
from cde_retrievers.training.batches.surrogate import PairVectors, context_vectors, embed_pairs
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.pairs import TrainingPairs, with_gathered_negatives
from cde_retrievers.training.trainable_model import TrainableModel, context_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSteps:
    """The three parts of a `DataLoader` of steps.

    Attributes:
        sampler: which pairs make up which batch.
        dataset: which documents a batch brings into its step.
        collator: makes tensors of them.
    """

    sampler: PairBatchSampler
    dataset: StepDataset
    collator: Collator


def prepare(
    pairs: TrainingPairs, encoder: ContextualEncoder, trainable: TrainableModel, config: TrainingConfig
) -> TrainingSteps:
    """Embed, cluster and tokenise, on disk where a later or parallel run finds it again.

    Raises:
        TrainingDataError: there are too few pairs for a batch, or pairs without the hard negatives asked for.
        ConfigurationError: the model or the processes cannot take this number of context documents.
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
    return TrainingSteps(sampler, StepDataset(pairs, hard_negatives, context), collator)


def negatives_per_query(pairs: TrainingPairs, config: TrainingConfig) -> int:
    """Hard negatives of each query: as asked for, or 1 if every pair has one.

    Raises:
        TrainingDataError: a pair has none although they are asked for.
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
            f"divides them, or set train_first_stage=False"
        )
    return ContextSampler(pairs, size, from_domain=config.context_from == "domain", exact=exact, multiple_of=sharing)


def _surrogate_vectors(pairs: TrainingPairs, encoder: ContextualEncoder, config: TrainingConfig) -> PairVectors | None:
    """None where nothing asks for them."""
    if config.batching == "random" and config.false_negative_threshold is None:
        return None
    return embed_pairs(pairs, encoder if config.surrogate is None else config.surrogate, config.cache)


def _sampler(pairs: TrainingPairs, vectors: PairVectors | None, config: TrainingConfig) -> PairBatchSampler:
    if config.batching == "random" or vectors is None:
        return random_batches(pairs, config.global_batch_size, config.seed)
    return contextual_batches(pairs, vectors, config.global_batch_size, config.cluster_size, config.seed, config.cache)
