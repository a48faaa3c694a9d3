"""The check that an index and its queries use the same context."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Self

from cde_retrievers.errors import ContextMismatchError

CONTEXT_KEY = "cde_context"
"""Metadata key of the context's fingerprint in a store or document."""

Verdict = Literal["same context", "another context", "index carries no context"]


@dataclass(frozen=True, slots=True)
class ContextCheck:
    """The result of `check_index`.

    Attributes:
        theirs: fingerprint of the context stated by the index; None if it states none.
        yours: fingerprint of the context under which queries would be embedded.
    """

    theirs: str | None
    yours: str

    @classmethod
    def of_stamps(cls, stamps: Set[str | None], yours: str) -> Self:
        """Return the result for an index whose documents carry these fingerprints; None stands for no fingerprint.

        One document of another context makes it "another context"; else one without a context, or no document at all,
        makes it "index carries no context".
        """
        others = sorted(stamp for stamp in stamps if stamp not in (None, yours))
        if others:
            return cls(others[0], yours)
        return cls(yours if stamps == {yours} else None, yours)

    @property
    def verdict(self) -> Verdict:
        """One of the three verdicts."""
        if self.theirs is None:
            return "index carries no context"
        return "same context" if self.theirs == self.yours else "another context"

    def __str__(self) -> str:
        found = "" if self.theirs == self.yours or self.theirs is None else f" ({self.theirs}, yours is {self.yours})"
        return self.verdict + found

    def raise_if_another(self) -> None:
        """Raise ContextMismatchError if the index was built under another context; it may state none."""
        if self.theirs is not None:
            self.raise_if_different()

    def raise_if_different(self) -> None:
        """Raise ContextMismatchError if the index was built under another context, or does not state one."""
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
