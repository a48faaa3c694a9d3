"""Base class of embedders whose vectors are made from another one's, under contexts of their own."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.encoder.context_cache import PreparedContextCache
from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.vector_settings import VectorSettings
from cde_retrievers.storage.hashing import sha256_of_json


class DerivedEmbedder(DelegatingEmbedder):
    """An `Embedder` with a fingerprint of its own, so that its vectors and those of its base never meet.

    A context that one of the two fitted is refused by the other.

    Args:
        base: the embedder whose vectors it uses.
        identity: JSON values that tell it from other embedders over the same base.
    """

    def __init__(self, base: Embedder, *identity: object) -> None:
        super().__init__(base.name, sha256_of_json([*identity, base.fingerprint]))
        self._base = base
        self._contexts_of_base = PreparedContextCache(self._restated)

    @property
    @abstractmethod
    def vector_settings(self) -> VectorSettings:
        """How its vectors differ from those of its base."""

    def _embedder(self) -> Embedder:
        return self._base

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this embedder fitted the context, and its base is unchanged since."""
        self._base.check_context(self._context_of_base(context))

    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> CorpusContext:
        """As `ContextualEncoder.fit_context`; the context is this embedder's own."""
        fitted = super().fit_context(texts, size, strategy, seed, show_progress, language)
        return replace(fitted, model_fingerprint=self.fingerprint)

    def _context_of_base(self, context: CorpusContext) -> CorpusContext:
        """Return an own context as one that the base accepts.

        Raises:
            ContextMismatchError: another model fitted it.
        """
        checked_context(context).check_model(self.fingerprint, self.name)
        return self._contexts_of_base.of(context)

    def _restated(self, context: CorpusContext) -> CorpusContext:
        return replace(context, model_fingerprint=self._base.fingerprint)
