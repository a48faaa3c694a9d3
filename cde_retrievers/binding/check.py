"""The check that an index and its queries use the same context, or plain vectors of the same model."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Self, cast

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.query_side import ClosedFormEmbedder
from cde_retrievers.encoder.vector_settings import vector_settings_of
from cde_retrievers.errors import ContextMismatchError

CONTEXT_KEY = "cde_context"
"""Metadata key of the context's fingerprint in a store or document, or of what stands for plain vectors."""

_PLAIN = "plain-"

Verdict = Literal[
    "same context",
    "another context",
    "index carries no context",
    "plain vectors",
    "plain vectors of another model",
]


def plain_stamp(embedder: Embedder) -> str | None:
    """Return what an index of an embedder's plain documents states in place of a context.

    None if a context acts on its documents.
    """
    if vector_settings_of(embedder).side == "both":
        return None
    return f"{_PLAIN}{cast(ClosedFormEmbedder, embedder).plain_fingerprint}"


def is_plain(stamp: str) -> bool:
    """Whether a stamp stands for plain vectors of a model, in place of a context."""
    return stamp.startswith(_PLAIN)


@dataclass(frozen=True, slots=True)
class ContextCheck:
    """The result of `check_index`.

    Attributes:
        theirs: fingerprint of the context stated by the index, or the stamp of plain vectors; None if it states none.
        yours: fingerprint of the context under which documents and queries would be embedded, or, where the context
            acts on queries alone, the stamp of plain vectors.
    """

    theirs: str | None
    yours: str

    @classmethod
    def of_stamps(cls, stamps: Set[str | None], yours: str) -> Self:
        """Return the result for an index whose documents carry these stamps; None stands for no stamp.

        One document of another context makes it "another context"; else one without a context, or no document at all,
        makes it "index carries no context".
        """
        others = sorted(stamp for stamp in stamps if stamp not in (None, yours))
        if others:
            return cls(others[0], yours)
        return cls(yours if stamps == {yours} else None, yours)

    @property
    def verdict(self) -> Verdict:
        """One of the verdicts."""
        if self.theirs is None:
            return "index carries no context"
        if is_plain(self.theirs):
            other = is_plain(self.yours) and self.theirs != self.yours
            return "plain vectors of another model" if other else "plain vectors"
        return "same context" if self.theirs == self.yours else "another context"

    def __str__(self) -> str:
        found = "" if self.theirs == self.yours or self.theirs is None else f" ({self.theirs}, yours is {self.yours})"
        return self.verdict + found

    def raise_if_another(self) -> None:
        """Raise ContextMismatchError if the index was built under another context; it may state none."""
        if self.theirs is not None:
            self.raise_if_different()

    def raise_if_different(self) -> None:
        """Raise ContextMismatchError if the index was built under another context, or does not state one.

        Where the context acts on queries alone, raise it if the index states anything but plain vectors of your model.
        """
        if is_plain(self.yours):
            self._raise_unless_plain()
        elif self.verdict == "plain vectors":
            raise ContextMismatchError(
                "the index states that it holds plain vectors, to which no context was applied, but yours would be "
                "applied to documents too; search it with embeddings of side='query', or embed its documents again "
                "under your context"
            )
        elif self.verdict == "another context":
            raise ContextMismatchError(
                f"the index was built under context {self.theirs}, queries would be embedded under {self.yours}; "
                f"load the context that was saved with the index, or embed its documents again under yours"
            )
        elif self.theirs is None:
            raise ContextMismatchError(
                f"the index carries no context, so it is not known to be built under {self.yours}; build it again, "
                f"or, if you know that it was, write your context's fingerprint into it"
            )

    def _raise_unless_plain(self) -> None:
        if self.verdict == "another context":
            raise ContextMismatchError(
                f"the index was built under context {self.theirs}, but queries of side='query' need plain vectors; "
                f"search it with embeddings of side='both' under that context, or embed its documents again"
            )
        if self.verdict == "plain vectors of another model":
            raise ContextMismatchError(
                f"the index holds plain vectors of another model ({self.theirs}) than yours ({self.yours}); load the "
                f"model that made them, or embed its documents again"
            )
