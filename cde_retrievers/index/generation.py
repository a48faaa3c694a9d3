"""One generation of an open index with the context and the embedder that belong to it."""

from dataclasses import dataclass
from typing import get_args

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, shown
from cde_retrievers.index.queries import Mode
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.vector_format import VectorFormat


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
    def vector_format(self) -> VectorFormat:
        """How vectors are stored."""
        return self.snapshot.manifest.vector_format

    @property
    def mode(self) -> Mode:
        """How it is searched by default: "hybrid", or "dense" where there are no postings."""
        has_postings = all(segment.has_postings for segment in self.snapshot.segments)
        return "hybrid" if self.context.terms is not None and has_postings else "dense"

    def checked_mode(self, mode: Mode | None) -> Mode:
        """Return the mode of a search; the default one if None.

        Raises:
            ConfigurationError: it is unknown, or needs postings and there are none.
        """
        if mode is not None and mode not in get_args(Mode):
            raise ConfigurationError(f"mode {shown(mode)} is unknown; use one of {list(get_args(Mode))}")
        if mode in ("hybrid", "lexical") and self.mode == "dense":
            raise ConfigurationError(
                f"mode {mode!r} searches by words, but this index holds vectors alone: it was built by an earlier "
                f"release, under a context without term statistics, or has lost files; call refit(), or use "
                f'mode="dense"'
            )
        return mode or self.mode

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise ContextMismatchError unless `fingerprint` is that of the context."""
        if fingerprint != self.context.fingerprint:
            raise ContextMismatchError(
                f"these vectors were made under context {fingerprint}, but the index is under "
                f"{self.context.fingerprint}; embed the texts under the index's context"
            )
