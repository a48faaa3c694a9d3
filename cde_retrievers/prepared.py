"""The second stage's share of work that depends on a context alone, done once and remembered for the last few."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import torch

from cde_retrievers.context import CorpusContext
from cde_retrievers.model.second_stage import SecondStage

_REMEMBERED = 8


class PreparedContexts:
    """What `SecondStage.prepare` makes of each context; safe to use from several threads."""

    def __init__(self, second_stage: SecondStage[Any], device: torch.device) -> None:
        self._second_stage = second_stage
        self._device = device
        self._prepared: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._prepared)

    def of(self, context: CorpusContext) -> Any:
        """The context as the second stage wants it.

        Raises:
            ConfigurationError: its vectors have the wrong width.
        """
        key = (context.fingerprint, context.checksum)
        with self._lock:
            if key not in self._prepared:
                self._prepared[key] = self._prepare(context)
                if len(self._prepared) > _REMEMBERED:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(key)
            return self._prepared[key]

    @torch.no_grad()
    def _prepare(self, context: CorpusContext) -> Any:
        vectors = torch.from_numpy(context.vectors.copy()).to(self._device)
        self._second_stage.check_context(vectors)
        return self._second_stage.prepare(vectors)
