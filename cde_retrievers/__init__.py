"""Contextual document embeddings for RAG pipelines: fit a context on a corpus, then embed under it."""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.context.context import CorpusContext
    from cde_retrievers.encoder.embedder import Embedder
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.external.embedder import WhitenedEmbedder
    from cde_retrievers.model.config import ContextualConfig
    from cde_retrievers.model.contextual import ContextualModel

__version__ = "0.1.0"
__all__ = ["ContextualConfig", "ContextualEncoder", "ContextualModel", "CorpusContext", "Embedder", "WhitenedEmbedder"]

_HOMES = {
    "ContextualConfig": "cde_retrievers.model.config",
    "ContextualEncoder": "cde_retrievers.encoder.encoder",
    "ContextualModel": "cde_retrievers.model.contextual",
    "CorpusContext": "cde_retrievers.context.context",
    "Embedder": "cde_retrievers.encoder.embedder",
    "WhitenedEmbedder": "cde_retrievers.external.embedder",
}


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
