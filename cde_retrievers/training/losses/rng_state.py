"""The state of a forward pass other than inputs and weights: random generators and autocast."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RngState:
    """The states of the CPU's random generator and, where there is one, of a device's."""

    device: torch.device
    cpu: Tensor
    accelerator: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "RngState":
        """The current states."""
        return cls(device, torch.get_rng_state(), _accelerator_state(device))

    def restore(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        if self.accelerator is None:
            return
        if self.device.type == "mps":  # has one device, and so no argument for it
            torch.mps.set_rng_state(self.accelerator)
        else:
            torch.get_device_module(self.device).set_rng_state(self.accelerator, self.device)


def _accelerator_state(device: torch.device) -> Tensor | None:
    if device.type == "cpu":
        return None
    if device.type == "mps":
        return torch.mps.get_rng_state()
    state: Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


@dataclass(frozen=True, slots=True)
class ForwardState:
    """Random states, and for each kind of device whether autocast is on and its number format."""

    random: RngState
    autocast: tuple[tuple[str, torch.dtype, bool], ...]

    @classmethod
    def now(cls, device: torch.device) -> "ForwardState":
        """The current state, for a computation on `device`."""
        kinds = sorted({"cpu", device.type})
        formats = ((kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in kinds)
        return cls(RngState.now(device), tuple(formats))

    @contextmanager
    def same_autocast(self) -> Iterator[None]:
        """Autocast as it was, without its cache of weights.

        In older versions of PyTorch a weight that is cast while no graph is recorded is handed out of that cache, cut
        off from its gradient, to a graph recorded afterwards (its issues 112583 and 158232).
        """
        with ExitStack() as stack:
            for kind, dtype, enabled in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False))
            yield

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Random states and autocast as they were; the outer stream of random numbers continues undisturbed."""
        outside = RngState.now(self.random.device)
        self.random.restore()
        try:
            with self.same_autocast():
                yield
        finally:
            outside.restore()
