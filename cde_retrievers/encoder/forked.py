"""Computing in a process that was forked from the one that loaded the model.

OpenMP's threads do not live on in a forked process, and waiting for them never ends: see pytorch/pytorch#49555.
"""

import logging
import os
from threading import Lock
from types import TracebackType

import torch

from cde_retrievers.errors import DeviceError

logger = logging.getLogger(__name__)


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
            self._prepare_child()
        self._locks.setdefault(process, Lock()).acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._locks[os.getpid()].release()

    def _prepare_child(self) -> None:
        if self._device is not None and self._device.type == "cuda":
            raise DeviceError(
                f"this process was forked after the model was loaded on {self._device}, which no forked process can "
                f"use; load the model in each worker, or start workers by the method 'spawn'"
            )
        if torch.get_num_threads() > 1:
            logger.warning(
                "this process was forked after the model was loaded, and computes with one thread: more could wait for "
                "each other for ever; to use more, load the model in each worker"
            )
            torch.set_num_threads(1)
