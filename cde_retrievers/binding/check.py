"""What a look at an index says about its context and the context that queries would be embedded under."""

from dataclasses import dataclass
from typing import Literal

from cde_retrievers.errors import ContextMismatchError

CONTEXT_KEY = "cde_context"
"""Under this name a store's or document's metadata carries the context's fingerprint."""

Verdict = Literal["same context", "another context", "index carries no context"]


@dataclass(frozen=True, slots=True)
class ContextCheck:
    """The answer of `check_index`.

    Attributes:
        theirs: fingerprint of the context that the index says it was built under; None if it says nothing.
        yours: fingerprint of the context that queries would be embedded under.
    """

    theirs: str | None
    yours: str

    @property
    def verdict(self) -> Verdict:
        """One of the three answers."""
        if self.theirs is None:
            return "index carries no context"
        return "same context" if self.theirs == self.yours else "another context"

    def __str__(self) -> str:
        found = "" if self.theirs == self.yours or self.theirs is None else f" ({self.theirs}, yours is {self.yours})"
        return self.verdict + found

    def raise_if_different(self) -> None:
        """Return if the index was built under your context.

        Raises:
            ContextMismatchError: it was built under another one, or does not say.
        """
        if self.verdict == "another context":
            raise ContextMismatchError(
                f"the index was built under context {self.theirs}, queries would be embedded under {self.yours}; "
                f"load the context that was saved with the index, or embed its documents again under yours"
            )
        if self.theirs is None:
            raise ContextMismatchError(
                f"the index carries no context, so it is not known to be built under {self.yours}; build it again, "
                f"or, if you know that it was, write your context's fingerprint into it"
            )
