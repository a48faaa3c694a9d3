"""What the processes of a run tell each other, apart from gradients. Alone, a process agrees with itself."""

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from cde_retrievers.training.gathering import world_size

T = TypeVar("T")


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world_size() > 1:
        dist.barrier()


def of_the_first(value: T) -> T:
    """The first process's value, on every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def mean_over_all(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return torch.div(total, world_size())
