"""The share of work that depends on a context alone, done once and remembered for the last few."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

import torch

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.model.second_stage import SecondStage

Prepared = TypeVar("Prepared")
_REMEMBERED = 8


class PreparedContextCache(Generic[Prepared]):
    """What `prepare` makes of each context; safe to use from several threads."""

    def __init__(self, prepare: Callable[[CorpusContext], Prepared]) -> None:
        self._prepare = prepare
        self._prepared: OrderedDict[tuple[str, str], Prepared] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._prepared)

    def of(self, context: CorpusContext) -> Prepared:
        """The prepared context; raises what `prepare` raises."""
        key = (context.fingerprint, context.checksum)
        with self._lock:
            if key not in self._prepared:
                self._prepared[key] = self._prepare(context)
                if len(self._prepared) > _REMEMBERED:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(key)
            return self._prepared[key]


def by_second_stage(second_stage: SecondStage[Any], device: torch.device) -> Callable[[CorpusContext], Any]:
    """A context as a second stage wants it, made by `SecondStage.prepare`.

    The function that is returned raises ConfigurationError where the context's vectors have the wrong width.
    """

    @torch.no_grad()
    def prepare(context: CorpusContext) -> Any:
        vectors = torch.from_numpy(context.vectors.copy()).to(device)
        second_stage.check_context(vectors)
        return second_stage.prepare(vectors)

    return prepare
