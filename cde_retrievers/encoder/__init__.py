"""Embedding texts under a context. Import `ContextualEncoder` and the `Embedder` interface from here."""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.encoder.embedder import Embedder
    from cde_retrievers.encoder.encoder import ContextualEncoder

_HOMES = {
    "ContextualEncoder": "cde_retrievers.encoder.encoder",
    "Embedder": "cde_retrievers.encoder.embedder",
}

__all__ = ["ContextualEncoder", "Embedder"]


__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
