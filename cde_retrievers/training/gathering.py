"""Rows of all processes, with gradients back to each. Axes: R processes, n rows of each, W width."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def world_size() -> int:
    """R; 1 where no process group was set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this process is."""
    return dist.get_rank() if world_size() > 1 else 0


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, W) of every process, as many on each -> (R * n, W), in the order of the processes.

    A row's gradient is the sum of what all processes' losses have for it. With the mean over processes that
    `DistributedDataParallel` takes, a weight's gradient is then that of the mean loss, as one process alone has it.
    """
    if world_size() == 1:
        return rows
    return torch.cat(all_gather(rows))  # type: ignore[no-untyped-call]


def gathered_mask(mask: Tensor) -> Tensor:
    """As `gathered`, for bool (n, W), through which no gradient flows."""
    return gathered(mask.to(torch.uint8)).bool()
