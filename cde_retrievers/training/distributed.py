"""Rows of all processes, with gradients back to each. Axes: R processes, n rows of each, W width."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """R; 1 where no process group was set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process."""
    return dist.get_rank() if world_size() > 1 else 0


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, W) of every process, as many on each -> (R * n, W), in the order of the processes.

    A row's gradient is the sum of what all processes' losses have for it. With the mean over processes that
    `DistributedDataParallel` takes, a weight's gradient is then that of the mean loss, as one process alone has it.
    Every process must run the backward pass, since all wait for each other there.
    """
    if world_size() == 1:
        return rows
    everyones: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return everyones


def gathered_mask(mask: Tensor) -> Tensor:
    """As `gathered`, for bool (n, W), through which no gradient flows."""
    return gathered(mask.to(torch.uint8)).bool()


# PyTorch's own, torch.distributed.nn.functional.all_gather, is deprecated in favour of a private module.
class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # A copy, since the gradient may be used elsewhere too, and is summed in place.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


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
