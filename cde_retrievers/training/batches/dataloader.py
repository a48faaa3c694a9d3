"""A DataLoader of whole steps: transformers' Trainer can count them, reorder nothing and skip those already done."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import TrainingArguments

from cde_retrievers.training.batches.collator import Collator
from cde_retrievers.training.batches.schedule import BatchSchedule
from cde_retrievers.training.batches.step_plan import StepPlanner

Step = dict[str, Tensor]


class StepKey(NamedTuple):
    """A step of an epoch and its pairs' rows (G,): all that a worker process needs to know."""

    epoch: int
    step: int
    pairs: NDArray[np.int64]


class Steps(Dataset[Step]):
    """Makes steps of their keys.

    Args:
        planner: what else a step consists of.
        collator: what makes tensors of it.
    """

    def __init__(self, planner: StepPlanner, collator: Collator) -> None:
        self._planner = planner
        self._collator = collator

    def __getitem__(self, key: StepKey) -> Step:
        return self._collator.collate(self._planner.plan(key.pairs, key.epoch, key.step))


class StepSampler(Sampler[list[StepKey]]):
    """The keys of one epoch's steps in order, each a batch by itself."""

    def __init__(self, schedule: BatchSchedule) -> None:
        self._schedule = schedule
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._schedule.batches_per_epoch

    def __iter__(self) -> Iterator[list[StepKey]]:
        batches = self._schedule.batches(self._epoch)
        return ([StepKey(self._epoch, step, pairs)] for step, pairs in enumerate(batches))


class StepLoader(DataLoader[Step]):
    """Serves the steps of an epoch.

    Args:
        schedule: which pairs make up which batch.
        steps: what makes steps of them.
        arguments: say how many processes make steps, how far ahead, and whether in pinned memory.
    """

    def __init__(self, schedule: BatchSchedule, steps: Steps, arguments: TrainingArguments) -> None:
        self._keys = StepSampler(schedule)
        workers = arguments.dataloader_num_workers
        super().__init__(
            steps,
            batch_sampler=self._keys,
            collate_fn=_only,
            num_workers=workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            pin_memory=arguments.dataloader_pin_memory and arguments.device.type == "cuda",
            persistent_workers=arguments.dataloader_persistent_workers and workers > 0,
        )

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; the Trainer calls it."""
        self._keys.set_epoch(epoch)


def _only(steps: list[Step]) -> Step:
    (step,) = steps
    return step
