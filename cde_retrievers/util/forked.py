"""Processes that were forked from one whose libraries already computed in several threads.

OpenMP's threads do not live on in a forked process, and waiting for them never ends: see pytorch/pytorch#49555.
"""

import os
from threading import current_thread, main_thread


class ThreadUse:
    """Where one library has computed: in this process, or in one that it was forked from.

    It describes what the library itself keeps for the process, and so there is one for each library.
    """

    def __init__(self) -> None:
        self._first_process: int | None = None
        self._known: set[tuple[int, bool]] = set()

    def begins_after_fork(self) -> bool:
        """Note that this process computes; return whether it now begins to, and was forked from one that did.

        The main thread begins for itself: it is the one that was forked, and some libraries count its threads apart.
        """
        process = os.getpid()
        if self._first_process is None:
            self._first_process = process
        place = (process, current_thread() is main_thread())
        begins = place not in self._known
        self._known.add(place)
        return begins and process != self._first_process


_FAISS = ThreadUse()


def prepare_faiss() -> None:
    """Let faiss compute with one thread from now on, if this process was forked from one that computed with it."""
    if _FAISS.begins_after_fork():
        import faiss

        faiss.omp_set_num_threads(1)
