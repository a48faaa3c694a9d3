"""The collator: makes the tensors of a step, on each process its own share.

Axes: R processes, B pairs on each, H hard negatives per query, M = B * (1 + H) documents on each, N context
documents, W width, L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cde_retrievers.encoder.batching import text_windows
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.training.batches.false_negatives import Mask, false_negatives
from cde_retrievers.training.batches.step_plan import StepPlan
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import TrainingPairs

Rows = NDArray[np.int64]


class TokenTable:
    """The token ids of distinct texts, tokenised once for all epochs, in one array of 32-bit numbers.

    Args:
        texts: without the prompt.
        prompt: put before each.
        tokenizer: of the model; cuts long texts.
    """

    def __init__(self, texts: Sequence[str], prompt: str, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        parts: list[NDArray[np.int32]] = []
        lengths: list[int] = []
        for start, stop in text_windows(texts):
            rows = tokenizer.encode([prompt + text for text in texts[start:stop]])
            parts.append(np.concatenate(rows).astype(np.int32))
            lengths += [len(row) for row in rows]
        self._ids = np.concatenate(parts)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - np.asarray(lengths)

    def __len__(self) -> int:
        return len(self._ends)

    def padded(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Row numbers (B,) -> right-padded token ids and their mask, each (B, L)."""
        return self._tokenizer.pad([self._ids[self._starts[row] : self._ends[row]].astype(np.int64) for row in rows])


@dataclass(frozen=True, slots=True)
class ProcessShard:
    """The share of one process: part `rank` of `world_size` equal parts."""

    rank: int = 0
    world_size: int = 1

    def of(self, count: int) -> tuple[int, int]:
        """Start and stop of the share of `count` items."""
        each = count // self.world_size
        return self.rank * each, (self.rank + 1) * each


@dataclass(frozen=True, slots=True)
class Collator:
    """The `collate_fn` of training.

    Attributes:
        pairs: to train on.
        queries: token ids of their distinct queries.
        documents: token ids of their distinct documents.
        surrogate: vectors that reveal false negatives; with None only known answers are excluded.
        threshold: see `TrainingConfig.false_negative_threshold`.
        shard: of this process.
        context_vectors: first-stage vectors of all documents, (D, W), if the first stage is frozen.
    """

    pairs: TrainingPairs
    queries: TokenTable
    documents: TokenTable
    surrogate: PairVectors | None = None
    threshold: float | None = 1.0
    shard: ProcessShard = ProcessShard()
    context_vectors: NDArray[np.float32] | None = None

    def __call__(self, plan: StepPlan) -> dict[str, Tensor]:
        """The arguments of `ContrastiveModel.forward`, by name."""
        start, stop = self.shard.of(len(plan.pairs))
        batch = plan.pairs[start:stop]
        return {
            **_tokens("query", self.queries, self.pairs.query_of[batch]),
            **_tokens("document", self.documents, plan.documents(start, stop)),
            "excluded": torch.from_numpy(self._excluded(plan, batch)),
            **self._context(plan),
        }

    def _context(self, plan: StepPlan) -> dict[str, Tensor]:
        if plan.context is None:
            return {}
        if self.context_vectors is not None:
            return {"context_vectors": torch.from_numpy(np.ascontiguousarray(self.context_vectors[plan.context]))}
        start, stop = self.shard.of(len(plan.context))
        return _tokens("context", self.documents, plan.context[start:stop])

    def _excluded(self, plan: StepPlan, batch: Rows) -> Mask:
        """The mask (B, R * M) of documents that are not negatives of this process's queries."""
        shards = [ProcessShard(rank, self.shard.world_size) for rank in range(self.shard.world_size)]
        candidates = np.concatenate([plan.documents(*shard.of(len(plan.pairs))) for shard in shards])
        own = own_columns(len(batch), plan.negatives.shape[1], self.shard.rank)
        return false_negatives(self.pairs, batch, candidates, own, self.surrogate, self.threshold)


def own_columns(batch: int, hard_negatives: int, rank: int) -> Rows:
    """The columns (B, 1 + H) of each local query's positive and hard negatives, among all R * M."""
    place = np.arange(batch)[:, None]
    first = rank * batch * (1 + hard_negatives)
    return first + np.concatenate([place, batch + place * hard_negatives + np.arange(hard_negatives)], axis=1)


def _tokens(role: str, table: TokenTable, rows: Rows) -> dict[str, Tensor]:
    input_ids, attention_mask = table.padded(rows)
    return {f"{role}_input_ids": input_ids, f"{role}_attention_mask": attention_mask}
