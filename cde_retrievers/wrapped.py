"""An embedder around another one: every call is handed on, for those that change one of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder


class WrappedEmbedder(ABC):
    """An `Embedder` that hands every call on to the one that `_embedder` gives.

    Args:
        name: what that one is loaded from.
        fingerprint: its identity.
    """

    def __init__(self, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint

    @abstractmethod
    def _embedder(self) -> Embedder:
        """The embedder that does the work."""

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self._embedder().width

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this model fitted the context."""
        context.check_model(self.fingerprint, self.name)

    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
    ) -> CorpusContext:
        """As `ContextualEncoder.fit_context`."""
        return self._embedder().fit_context(texts, size, strategy, seed, show_progress)

    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Context vectors of documents, (n, context width) float32, not normalised."""
        return self._embedder().first_stage_vectors(texts, show_progress)

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Documents under a context -> (n, width) float32 unit rows."""
        return self._embedder().encode_documents(texts, context, show_progress)

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Queries under the context of the corpus they are for -> (n, width) float32 unit rows."""
        return self._embedder().encode_queries(texts, context, show_progress)
