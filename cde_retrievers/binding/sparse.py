"""Sparse vectors under the context that a framework's embedding object is bound to."""

from collections.abc import Iterable

from scipy.sparse import csr_matrix

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.validation.texts import checked_texts


class SparseBinding:
    """Binds term statistics to embeddings, so that their dense and sparse vectors are always of one context.

    Args:
        embeddings: embeddings whose context is fitted.

    Raises:
        ConfigurationError: they are not bound to a context.
        ContextNotFittedError: they have no context yet.
        ContextMismatchError: their context carries no term statistics.
    """

    def __init__(self, embeddings: object) -> None:
        if not isinstance(embeddings, ContextBoundMixin):
            raise ConfigurationError(
                f"sparse vectors need embeddings that are bound to a context, found {type(embeddings).__name__}; give "
                f"those that embed for the same store"
            )
        embeddings.context.term_statistics()
        self.fingerprint = embeddings.context.fingerprint
        self._embeddings = embeddings

    def documents(self, texts: Iterable[str]) -> csr_matrix:
        """Return sparse vectors of documents (n, terms).

        Raises:
            InvalidTextError: `texts` is not a collection of texts.
            ContextMismatchError: the embeddings have been refitted since.
        """
        known = list(checked_texts(texts))
        return document_rows(known, self._embeddings.use_context(self.fingerprint).term_statistics())

    def queries(self, texts: Iterable[str]) -> csr_matrix:
        """Return sparse vectors of queries (n, terms); errors as for documents."""
        known = list(checked_texts(texts))
        return query_rows(known, self._embeddings.use_context(self.fingerprint).term_statistics())
