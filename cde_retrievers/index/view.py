"""What a search needs to agree on: documents, and the context and model that they were embedded with.

Axes: Q queries, W width.
"""

from dataclasses import dataclass

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.document import Hit
from cde_retrievers.validation.vectors import Embeddings


@dataclass(frozen=True, slots=True)
class View:
    """One generation with its context; replaced as a whole, so that nobody ever sees parts of two.

    Attributes:
        snapshot: documents and vectors.
        context: that these were embedded under.
        embedder: of that context; None if it is loaded by its name when it is needed.

    Raises:
        ContextMismatchError: the embedder is another model than the context's.
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

    def check(self, fingerprint: str) -> None:
        """Raise ContextMismatchError unless vectors made under the context with that fingerprint fit."""
        if fingerprint != self.context.fingerprint:
            raise ContextMismatchError(
                f"these vectors were made under context {fingerprint}, but the index is under "
                f"{self.context.fingerprint}; embed the texts under the index's context"
            )

    def search(self, queries: Embeddings, k: int, query_filter: Filter | None) -> list[list[Hit]]:
        """The `k` best hits of each query (Q, W), best first."""
        scores, rows = self.snapshot.search(queries, k, query_filter)
        return [
            [self._hit(int(row), float(score)) for score, row in zip(*found, strict=True)]
            for found in zip(scores, rows, strict=True)
        ]

    def _hit(self, row: int, score: float) -> Hit:
        document = self.snapshot.document(row)
        return Hit(str(document.id), document.text, document.metadata, score)
