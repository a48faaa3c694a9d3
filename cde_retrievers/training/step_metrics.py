"""The metrics of training steps: averages since the last log entry, speed and memory."""

import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from cde_retrievers.training.distributed import mean_over_all

_GIB = 2**30
_AVERAGED = ("accuracy", "masked_share")


class StepMetrics:
    """Collects the metrics of steps between two log entries.

    Args:
        device: whose memory is measured; on a CPU that of the process.
        world_size: processes that train.
    """

    def __init__(self, device: torch.device, world_size: int) -> None:
        self._device = device
        self._world_size = world_size
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._pairs = 0
        self._since = time.perf_counter()

    def add(self, report: Mapping[str, Tensor], pairs: int) -> None:
        """Add the metrics of one step, and its number of pairs on this process."""
        for name in _AVERAGED:
            value = report[name].detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self._pairs += pairs

    def leave_out(self, seconds: float) -> None:
        """Leave time that was spent on other work, such as evaluation, out of the speed."""
        self._since += seconds

    def drain(self) -> dict[str, float]:
        """Return `accuracy`, `masked_share`, `pairs_per_second` and `memory_gib` since the last call.

        Every process must call this: accuracy and masked share are means over all of them.
        """
        if self._steps == 0:
            return {}
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        names = sorted(self._sums)
        means = mean_over_all(torch.stack([self._sums[name] for name in names]) / self._steps)
        found = dict(zip(names, means.tolist(), strict=True))
        found["pairs_per_second"] = self._world_size * self._pairs / elapsed
        memory = peak_memory(self._device)
        if memory is not None:
            found["memory_gib"] = memory / _GIB
        self._sums, self._steps, self._pairs, self._since = {}, 0, 0, time.perf_counter()
        return found


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes: of tensors on a GPU, else of this process; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
