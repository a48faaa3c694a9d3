"""Communication between the processes of a run. Axes: R processes, n rows of each, W width."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """The number of processes, R; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process."""
    return dist.get_rank() if world_size() > 1 else 0


def gathered(rows: Tensor) -> Tensor:
    """The rows (n, W) of all processes -> (R * n, W), in the order of the processes; n is the same on each.

    The gradient of a row is the sum of its gradients from the losses of all processes. `DistributedDataParallel` takes
    the mean over processes, so a weight's gradient is that of the mean loss, as with one process.
    Every process must run the backward pass, where all wait for each other.
    """
    if world_size() == 1:
        return rows
    everyones: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return everyones


def gathered_mask(mask: Tensor) -> Tensor:
    """`gathered` for bool (n, W), without gradients."""
    return gathered(mask.to(torch.uint8)).bool()


# torch.distributed.nn.functional.all_gather is deprecated in favour of a private module.
class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # A copy, since it is summed in place and may be used elsewhere too.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


T = TypeVar("T")


def wait_for_all() -> None:
    """Wait until every process has called this."""
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
