"""An embedder whose model is loaded at its first use, such as one that came over from another process."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from cde_retrievers.embedder import Embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.wrapped import WrappedEmbedder


class LazyEmbedder(WrappedEmbedder):
    """Loads the model at its first use, where an error reaches whoever asked; it is pickled without the model.

    While a pickle is read, nothing may be loaded and no error may be raised: a process pool waits for ever if a worker
    cannot read its task.

    Args:
        name: what the model was loaded from in the process where it was pickled.
        fingerprint: of the model there.
        width: length of its embeddings; None if asking for it costs something, then the loaded model is asked.
        load: loads it here; must be picklable.
    """

    def __init__(self, name: str, fingerprint: str, width: int | None, load: Callable[[], Embedder]) -> None:
        super().__init__(name, fingerprint)
        self._width = width
        self._load = load
        self._loaded: Embedder | None = None
        self._lock = Lock()

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self._embedder().width if self._width is None else self._width

    def _embedder(self) -> Embedder:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._the_same(self._load())
            return self._loaded

    def _the_same(self, loaded: Embedder) -> Embedder:
        if loaded.fingerprint != self.fingerprint:
            raise ContextMismatchError(
                f"the model {self.name!r} is another one here than where it was pickled: {loaded.fingerprint[:12]} is "
                f"loaded, {self.fingerprint[:12]} is needed; save the model and load it by that path in both places"
            )
        return loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.fingerprint, self._width, self._load)
