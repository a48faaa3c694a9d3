"""LRU cache of per-context state (keys and values, whitening map)."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.forked import ForkSafeLock
from cde_retrievers.model.second_stage import SecondStage

Prepared = TypeVar("Prepared")
_REMEMBERED = 8


class PreparedContextCache(Generic[Prepared]):
    """Caches the result of `prepare` for the latest contexts; safe to use from several threads."""

    def __init__(self, prepare: Callable[[CorpusContext], Prepared]) -> None:
        self._prepare = prepare
        self._prepared: OrderedDict[tuple[str, str], Prepared] = OrderedDict()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        return len(self._prepared)

    def of(self, context: CorpusContext) -> Prepared:
        """Return the prepared context; raises what `prepare` raises."""
        key = (context.fingerprint, context.checksum)
        with self._lock:
            if key not in self._prepared:
                self._prepared[key] = self._prepare(context)
                if len(self._prepared) > _REMEMBERED:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(key)
            return self._prepared[key]


def by_second_stage(second_stage: SecondStage[Any], device: torch.device) -> Callable[[CorpusContext], Any]:
    """Return a function that prepares a context by `SecondStage.prepare`, on the device.

    That function raises ConfigurationError if the context's vectors have the wrong width.
    """

    @torch.no_grad()
    def prepare(context: CorpusContext) -> Any:
        vectors = torch.from_numpy(context.vectors.copy()).to(device)
        second_stage.check_context(vectors)
        return second_stage.prepare(vectors)

    return prepare
