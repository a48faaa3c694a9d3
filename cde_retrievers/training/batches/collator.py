"""From a plan to this process's tensors: the step format of `ContrastiveModel`.

Axes: R processes, B pairs on each, H hard negatives per query, M = B * (1 + H) documents on each, N context
documents, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cde_retrievers.batches import text_windows
from cde_retrievers.text import TextTokenizer
from cde_retrievers.training.batches.false_negatives import left_out
from cde_retrievers.training.batches.step_plan import StepPlan
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import TrainingPairs


class TokenTable:
    """Token ids of distinct texts, end to end in one array of 32-bit numbers.

    Args:
        texts: n texts, without the prompt.
        prompt: put before each.
        tokenizer: of the model; cuts what is too long.
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

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Row numbers (B,) -> right-padded token ids and their mask, each (B, L)."""
        return self._tokenizer.pad([self._ids[self._starts[row] : self._ends[row]].astype(np.int64) for row in rows])


PAIR_ROWS = "pair_rows"  # travels with a step so that one that fails can be shown; no model sees it
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """This process among all: `rank` of `world_size`, which is R."""

    rank: int = 0
    world_size: int = 1

    def of(self, count: int) -> tuple[int, int]:
        """Start and stop of its share of `count` items, which the processes divide evenly."""
        each = count // self.world_size
        return self.rank * each, (self.rank + 1) * each


@dataclass(frozen=True, slots=True)
class FalseNegativeFilter:
    """What tells that a document answers a query that it is no positive of (paper, equation 4).

    Attributes:
        vectors: of the surrogate; None leaves out only documents known to be answers.
        threshold: as `TrainingConfig.false_negative_threshold`.
    """

    vectors: PairVectors | None = None
    threshold: float | None = 1.0


class Collator:
    """Makes the tensors of a step.

    Args:
        pairs: what is trained on.
        queries: their token ids, row by row.
        documents: likewise.
        filtering: what is left out of the loss.
        share: this process's.
        context_vectors: first-stage vectors of all documents, (D, W), where the first stage is frozen.
    """

    def __init__(
        self,
        pairs: TrainingPairs,
        queries: TokenTable,
        documents: TokenTable,
        filtering: FalseNegativeFilter,
        share: Share,
        context_vectors: NDArray[np.float32] | None = None,
    ) -> None:
        self._pairs = pairs
        self._queries = queries
        self._documents = documents
        self._filtering = filtering
        self._share = share
        self._context_vectors = context_vectors

    def collate(self, plan: StepPlan) -> dict[str, Tensor]:
        """The step's tensors by name; shapes as `ContrastiveModel.forward` says, and `pair_rows` (B,)."""
        start, stop = self._share.of(len(plan.pairs))
        batch = plan.pairs[start:stop]
        return {
            **_tokens("query", self._queries, self._pairs.query_of[batch]),
            **_tokens("document", self._documents, plan.documents(start, stop)),
            "left_out": torch.from_numpy(self._left_out(plan, batch)),
            **self._context(plan),
            PAIR_ROWS: torch.from_numpy(batch.copy()),
        }

    def _context(self, plan: StepPlan) -> dict[str, Tensor]:
        if plan.context is None:
            return {}
        if self._context_vectors is not None:
            return {"context_vectors": torch.from_numpy(np.ascontiguousarray(self._context_vectors[plan.context]))}
        start, stop = self._share.of(len(plan.context))
        return _tokens("context", self._documents, plan.context[start:stop])

    def _left_out(self, plan: StepPlan, batch: Rows) -> NDArray[np.bool_]:
        """(B, R * M): which documents of all processes are no negatives of this process's queries."""
        parts = [Share(rank, self._share.world_size).of(len(plan.pairs)) for rank in range(self._share.world_size)]
        candidates = np.concatenate([plan.documents(start, stop) for start, stop in parts])
        own = own_columns(len(batch), plan.negatives.shape[1], self._share.rank)
        return left_out(
            self._pairs, batch, candidates, own, self._filtering.vectors, threshold=self._filtering.threshold
        )


def own_columns(batch: int, hard_negatives: int, rank: int) -> Rows:
    """Columns (B, 1 + H) of each local query's positive, then of its hard negatives, among all R * M."""
    place = np.arange(batch)[:, None]
    first = rank * batch * (1 + hard_negatives)
    return first + np.concatenate([place, batch + place * hard_negatives + np.arange(hard_negatives)], axis=1)


def _tokens(role: str, table: TokenTable, rows: Rows) -> dict[str, Tensor]:
    input_ids, attention_mask = table.batch(rows)
    return {f"{role}_input_ids": input_ids, f"{role}_attention_mask": attention_mask}
