"""Contextual document embeddings for RAG pipelines: fit a context on a corpus, then embed under it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cde_retrievers.context import CorpusContext
    from cde_retrievers.encoder import ContextualEncoder
    from cde_retrievers.model.config import ContextualConfig
    from cde_retrievers.model.contextual import ContextualModel

__version__ = "0.1.0"
__all__ = ["ContextualConfig", "ContextualEncoder", "ContextualModel", "CorpusContext"]

_HOMES = {
    "ContextualConfig": "cde_retrievers.model.config",
    "ContextualEncoder": "cde_retrievers.encoder",
    "ContextualModel": "cde_retrievers.model.contextual",
    "CorpusContext": "cde_retrievers.context",
}


def __getattr__(name: str) -> object:
    # Lazy, because torch alone takes a second to import and a command line should answer sooner.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
