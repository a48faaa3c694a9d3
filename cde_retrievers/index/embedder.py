"""The embedder of an index that was opened without one: loaded by the name that the context carries."""

from threading import Lock

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError


class EmbedderLoader:
    """Loads embedders at first use, each model once; safe to use from several threads."""

    def __init__(self) -> None:
        self._loaded: dict[str, Embedder] = {}
        self._loading = Lock()

    def load(self, context: CorpusContext) -> Embedder:
        """Return the embedder of a context.

        Raises:
            ConfigurationError: the model belongs to another library.
            CheckpointError: there is no model of that name.
            ContextMismatchError: the model of that name is not the one that fitted the context.
        """
        with self._loading:
            wanted = context.model_fingerprint
            if wanted not in self._loaded:
                require_loadable(context)
                from cde_retrievers.encoder.encoder import ContextualEncoder  # torch, for the first time perhaps

                loaded = ContextualEncoder.from_pretrained(context.model_name)
                loaded.check_context(context)
                self._loaded[wanted] = loaded
            return self._loaded[wanted]


def require_loadable(context: CorpusContext) -> None:
    """Raise ConfigurationError if the model of a context belongs to another library, so cannot be loaded by name."""
    if context.probe is not None:
        raise ConfigurationError(
            f"this index was made with the embedding {context.model_name!r} of another library, which cannot be loaded "
            f"by its name; pass it when you open the index: ContextualVectorStore.open(path, "
            f"WhitenedEmbeddings(base=...)), ContextualVectorStore.open(path, WhitenedEmbedding(base=...)) "
            f"or ContextualIndex.open(path, embedder)"
        )
