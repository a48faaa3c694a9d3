"""sentence-transformers: a module that makes a contextual encoder and a context a `SentenceTransformer`."""

try:
    import sentence_transformers  # noqa: F401
except ImportError as error:
    from cde_retrievers.errors import MissingDependencyError

    raise MissingDependencyError(
        "cde_retrievers.st needs sentence-transformers: pip install 'cde-retrievers[st]'"
    ) from error

from cde_retrievers.st.module import ContextualModule

__all__ = ["ContextualModule"]
