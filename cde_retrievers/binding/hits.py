"""The check that the documents a store found were embedded under the context of the queries."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck, is_plain
from cde_retrievers.errors import ContextMismatchError

logger = logging.getLogger(__name__)


class HitCheck:
    """Compares the stamps of a retriever's hits with that of its embeddings. It is safe to use from several threads.

    Args:
        store: name of the store, for messages.
        stamp: the stamp of the embeddings.
        is_known: whether the store states that context itself, so that hits need no stamps.
        ask: asks the store again what it states, since its name may lead to another collection by now; hits without a
            stamp would not show that; None where its documents state it themselves.
    """

    def __init__(self, store: str, stamp: str, is_known: bool, ask: Callable[[], str | None] | None = None) -> None:
        self._store = store
        self._stamp = stamp
        self._ask = ask if is_known else None
        # Without a context, plain vectors are what an index is expected to hold.
        self._is_told = is_known or is_plain(stamp)

    def check(self, hits: Iterable[Mapping[str, Any]]) -> None:
        """Check the metadata of hits. The first time that some carry no stamp, a warning is logged.

        Raises:
            ContextMismatchError: a hit is stamped with another context, or hits are not stamped, and the store states
                another one by now.
        """
        found = {metadata.get(CONTEXT_KEY) for metadata in hits}
        if any(stamp not in (None, self._stamp) for stamp in found):
            check = ContextCheck.of_stamps(found, self._stamp)
            raise ContextMismatchError(
                f"{self._store} found a document that was embedded under {check.theirs}, with a query that was "
                f"embedded under {self._stamp}, so the ranking means nothing; load the context that was saved with the "
                f"store, or embed its documents again under yours"
            )
        if None in found and self._ask is not None:
            ContextCheck(self._ask(), self._stamp).raise_if_another()
        if None in found and not self._is_told:
            self._is_told = True
            logger.warning(
                "%s finds documents that carry no context, so they are not known to be embedded under %s; add "
                "stamped(...) documents, and check_index() tells what the store states",
                self._store,
                self._stamp,
            )
