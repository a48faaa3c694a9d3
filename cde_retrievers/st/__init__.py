"""sentence-transformers: a module that makes a contextual encoder and a context a `SentenceTransformer`."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from cde_retrievers.util.imports import require

require("sentence_transformers", "cde_retrievers.st", extra="st", package="sentence-transformers")

from cde_retrievers.st.module import ContextualModule

__all__ = ["ContextualModule"]
