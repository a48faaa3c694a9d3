"""What the frameworks' embedding objects have in common: they are bound to one context, and copies stay bound."""

from typing import Any, Self

from cde_retrievers.binding import ContextBinding
from cde_retrievers.context import CorpusContext


class BoundToContext:
    """Mixed into a framework's pydantic model, before the framework's class."""

    _binding: ContextBinding

    @property
    def context(self) -> CorpusContext:
        """The fitted context; raises ContextNotFittedError before `fit`."""
        return self._binding.context

    def check_context(self, fingerprint: str) -> None:
        """Raise ContextMismatchError if the context is no longer the one with that fingerprint."""
        self._binding.check_still(fingerprint)

    def with_context(self, context: CorpusContext) -> Self:
        """A view of the same loaded model under another context, for a second index; this one stays as it is.

        No weights are copied, and both may be used at once from several threads.

        Raises:
            ContextMismatchError: another model fitted the context.
        """
        view = self.__copy__()
        view._binding = self._binding.with_context(context)
        view._context_replaced()
        return view

    def _context_replaced(self) -> None:
        """Bring the fields that name the context up to date."""
        raise NotImplementedError

    def __copy__(self) -> Self:
        twin: Self = super().__copy__()  # type: ignore[misc]  # pydantic's
        twin._binding = self._binding.copy()
        return twin

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The encoder is shared: it never changes, and a context is a value.
        return self.__copy__()
