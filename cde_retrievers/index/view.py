"""What a search needs to agree on: documents, and the context and model that they were embedded with.

Axes: Q queries, W width.
"""

from dataclasses import dataclass

import numpy as np

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder, checked_embedder
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.index.document import Hit
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.snapshot import Snapshot

_SAME_LENGTH = 1e-2  # half precision does not come closer


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

    def check(self, fingerprint: str) -> None:
        """Raise ContextMismatchError unless vectors made under the context with that fingerprint fit."""
        if fingerprint != self.context.fingerprint:
            raise ContextMismatchError(
                f"these vectors were made under context {fingerprint}, the index is under {self.context.fingerprint}; "
                f"embed the texts under the index's context"
            )

    def checked_vectors(self, vectors: Embeddings, rows: int | None = None) -> Embeddings:
        """The vectors as (n, W) float32, if that is what they are.

        Raises:
            ConfigurationError: they have another shape, or hold what is no number.
        """
        width = self.snapshot.manifest.width
        try:
            matrix = np.asarray(vectors, dtype=np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(f"rows of {width} numbers are needed: {error}") from error
        if matrix.ndim != 2 or matrix.shape[1] != width or rows not in (None, len(matrix)):
            raise ConfigurationError(
                f"vectors of shape ({'n' if rows is None else rows}, {width}) are needed, found {matrix.shape}"
            )
        if not np.isfinite(matrix).all():
            raise ConfigurationError("the vectors hold values that are infinite or no numbers; embed the texts again")
        return matrix

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


def check_lengths(vectors: Embeddings) -> None:
    """Raise ConfigurationError if products of these vectors (n, W) with a query are no cosines.

    A vector of zeros passes: it is like nothing, which is true.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero((lengths > 0) & (np.abs(lengths - 1) > _SAME_LENGTH))
    if len(wrong):
        raise ConfigurationError(
            f"vectors of length 1 are needed, so that products are cosines, but vector {wrong[0]} has length "
            f"{lengths[wrong[0]]:.3g}; divide each by its length"
        )
