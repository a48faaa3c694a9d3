"""One generation of an open index with the context and the embedder that belong to it."""

from dataclasses import dataclass

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.index.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Generation:
    """What a search uses; an open index replaces it as a whole, so no thread ever sees parts of two.

    Attributes:
        snapshot: the documents and vectors.
        context: the context they were embedded under.
        embedder: an embedder of that context; None if it is loaded by name when needed.

    Raises:
        ContextMismatchError: the embedder is of another model than the context.
    """

    snapshot: Snapshot
    context: CorpusContext
    embedder: Embedder | None

    def __post_init__(self) -> None:
        if self.embedder is not None:
            checked_embedder(self.embedder).check_context(self.context)

    @property
    def width(self) -> int:
        """Length of a vector, W."""
        return self.snapshot.manifest.width

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise ContextMismatchError unless `fingerprint` is that of the context."""
        if fingerprint != self.context.fingerprint:
            raise ContextMismatchError(
                f"these vectors were made under context {fingerprint}, but the index is under "
                f"{self.context.fingerprint}; embed the texts under the index's context"
            )
