"""Embedders that delegate to another one: a base class, and one that loads its model at first use."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder, fitted_context
from cde_retrievers.encoder.vector_settings import MODELS_OWN, VectorSettings, vector_settings_of
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.validation.vectors import Embeddings


class DelegatingEmbedder(ABC):
    """An `Embedder` that delegates every call to the one that `_embedder` returns.

    Args:
        name: the name or path that embedder is loaded from.
        fingerprint: its fingerprint.
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

    @property
    def vector_settings(self) -> VectorSettings:
        """How its vectors differ from those that a model gives by itself."""
        return vector_settings_of(self._embedder())

    @property
    def plain_fingerprint(self) -> str | None:
        """Identity of what plain vectors depend on; None if the embedder has none."""
        return getattr(self._embedder(), "plain_fingerprint", None)

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
        language: str | None = "english",
    ) -> CorpusContext:
        """As `ContextualEncoder.fit_context`."""
        return fitted_context(self._embedder(), texts, size, strategy, seed, show_progress, language)

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


class LazyEmbedder(DelegatingEmbedder):
    """Loads the model at first use, so that errors reach the caller; it is pickled without the model.

    Reading a pickle must neither load anything nor raise an error: a process pool waits forever if a worker
    cannot read its task.

    Args:
        name: the name or path the model was loaded from in the process where it was pickled.
        fingerprint: fingerprint of the model there.
        width: length of its embeddings; None to read it from the model once loaded.
        load: loads the model in this process; must be picklable.
        vector_settings: those of its vectors.
    """

    def __init__(
        self,
        name: str,
        fingerprint: str,
        width: int | None,
        load: Callable[[], Embedder],
        vector_settings: VectorSettings = MODELS_OWN,
    ) -> None:
        super().__init__(name, fingerprint)
        self._width = width
        self._load = load
        self._vector_settings = vector_settings
        self._loaded: Embedder | None = None
        self._lock = Lock()

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self._embedder().width if self._width is None else self._width

    @property
    def vector_settings(self) -> VectorSettings:
        """How its vectors differ from those that a model gives by itself."""
        return self._vector_settings

    def _embedder(self) -> Embedder:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._the_same(self._load())
            return self._loaded

    def _the_same(self, loaded: Embedder) -> Embedder:
        if loaded.fingerprint != self.fingerprint:
            raise ContextMismatchError(
                f"the model {self.name!r} differs here from the one that was pickled: {loaded.fingerprint[:12]} is "
                f"loaded, {self.fingerprint[:12]} is needed; save the model and load it by that path in both places"
            )
        return loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.fingerprint, self._width, self._load, self._vector_settings)
