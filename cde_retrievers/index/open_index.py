"""An open index: the generation in use, its embedder, and moving to a newer generation."""

from threading import RLock

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.index.embedder import EmbedderLoader
from cde_retrievers.index.generation import Generation
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore


class OpenIndex:
    """The state of an open index, shared by all threads that search and change it.

    Args:
        store: store of the index.
        snapshot: documents and vectors of the generation.
        context: context of the generation.
        embedder: embedder that the index was built with; loaded by name at first use if None.

    Attributes:
        store: store of the index.
        current: the generation in use, replaced as a whole; a search reads it once.
        changing: held while it is replaced.

    Raises:
        ContextMismatchError: the embedder is of another model.
    """

    def __init__(
        self, store: IndexStore, snapshot: Snapshot, context: CorpusContext, embedder: Embedder | None
    ) -> None:
        self.store = store
        self.current = Generation(snapshot, context, embedder)
        self.changing = RLock()
        self._loader = EmbedderLoader()

    def embedder_of(self, generation: Generation) -> Embedder:
        """Return the embedder of a generation; raises as `EmbedderLoader.load`."""
        given = generation.embedder
        return self._loader.load(generation.context) if given is None else given

    def refresh(self) -> bool:
        """Move to the newest generation; return whether it is another one.

        Raises:
            ContextMismatchError: the index was refitted with another model than the one given.
        """
        with self.changing:
            if self._is_newest(self.store.served()):
                return False
            self.adopt(*self.store.open())
            return True

    def adopt(self, snapshot: Snapshot, context: CorpusContext, embedder: Embedder | None = None) -> None:
        """Move to this generation; the embedder stays if None."""
        snapshot.take_ids_of(self.current.snapshot)
        self.current = Generation(snapshot, context, self.current.embedder if embedder is None else embedder)

    def _is_newest(self, served: Manifest) -> bool:
        """Whether the generation in use is the one that is served."""
        own = self.current.snapshot.manifest
        if self.current.snapshot.damaged:  # damaged files were taken out of its manifest
            return (own.identity, own.generation) == (served.identity, served.generation)
        return own == served  # a restored copy may have the same number and other files
