"""An embedder that came over from another process: its model is loaded by name, and not before it is needed."""

from collections.abc import Callable
from threading import Lock

from cde_retrievers.embedder import Embedder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.wrapped import WrappedEmbedder


class ReloadedEmbedder(WrappedEmbedder):
    """Loads the model at its first use, where an error reaches whoever asked.

    While a pickle is read, no error may be raised: a process pool whose worker cannot read its task waits for ever.

    Args:
        name: what the model was loaded from in the process where it was pickled.
        fingerprint: of the model there.
        width: length of its embeddings.
        load: loads it here.
    """

    def __init__(self, name: str, fingerprint: str, width: int, load: Callable[[], Embedder]) -> None:
        super().__init__(name, fingerprint, width)
        self._load = load
        self._loaded: Embedder | None = None
        self._lock = Lock()

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
