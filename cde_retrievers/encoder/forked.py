"""Computing in a process that was forked from one that loaded a model."""

import logging
import os
from threading import Lock
from types import TracebackType

import torch

from cde_retrievers.errors import DeviceError
from cde_retrievers.util.forked import ThreadUse

logger = logging.getLogger(__name__)
_TORCH = ThreadUse()


def prepare_torch() -> None:
    """Let torch compute with one thread from now on, and log that, if this process was forked from one that used it.

    Call it before the first computation of a process, which is often to load a model. Threads that are set after it
    stay.
    """
    if _TORCH.begins_after_fork() and torch.get_num_threads() > 1:
        logger.warning(
            "this process was forked after a model was loaded, and computes with one thread: more could wait for each "
            "other for ever; to use more, load no model before the fork, or start workers by the method 'spawn'"
        )
        torch.set_num_threads(1)


class ForkSafeLock:
    """A lock around computations. A forked process finds it free, and computes with one thread from then on.

    Args:
        device: where the computations run; None if that may be anywhere.

    Raises:
        DeviceError: on entering it, in a forked process that would use a CUDA device of its parent.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._locks = {os.getpid(): Lock()}  # a thread of the parent may have held its lock when the process was forked

    def __enter__(self) -> None:
        process = os.getpid()
        if process not in self._locks:
            self._refuse_inherited_cuda()
        prepare_torch()
        self._locks.setdefault(process, Lock()).acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._locks[os.getpid()].release()

    def _refuse_inherited_cuda(self) -> None:
        if self._device is not None and self._device.type == "cuda":
            raise DeviceError(
                f"this process was forked after the model was loaded on {self._device}, which no forked process can "
                f"use; load the model in each worker, or start workers by the method 'spawn'"
            )
