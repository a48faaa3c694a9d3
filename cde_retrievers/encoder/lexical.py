"""Dense and lexical views of a text in one vector, for stores that know cosine alone. Axes: n texts, W width."""

from collections.abc import Iterable

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.encoder.derived import DerivedEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.vector_settings import VectorSettings
from cde_retrievers.sparse.projection import SLOTS, WEIGHT, lexical_vectors, with_lexical_part
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings


class LexicalEmbedder(DerivedEmbedder):
    """An `Embedder` that appends a lexical part, by the context's term statistics, to the vectors of another.

    Args:
        base: the embedder of the dense part.
        lexical_width: numbers of the lexical part.

    Raises:
        ConfigurationError: `lexical_width` is not a positive whole number, or too large.
    """

    def __init__(self, base: Embedder, lexical_width: int) -> None:
        check_whole("lexical_width", lexical_width, 1)
        self._settings = VectorSettings(lexical_width=lexical_width)
        super().__init__(base, "lexical", self._settings.lexical_width, WEIGHT, SLOTS)

    @property
    def vector_settings(self) -> VectorSettings:
        """Those of a lexical part of this width."""
        return self._settings

    @property
    def width(self) -> int:
        """Length of an embedding: the base's and that of the lexical part."""
        return self._base.width + self._settings.lexical_width

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this embedder fitted the context, and it carries term statistics."""
        checked_context(context).term_statistics()
        super().check_context(context)

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed documents under a context -> (n, W) float32 unit rows.

        Raises:
            InvalidTextError: `texts` is not a collection of texts.
            ContextMismatchError: another embedder fitted the context, or it carries no term statistics.
        """
        known = list(checked_texts(texts))
        of_base, lexical = self._context_of_base(context), self._lexical(known, context)
        return self._joined(self._base.encode_documents(known, of_base, show_progress), lexical)

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus; otherwise as `encode_documents`."""
        known = list(checked_texts(texts))
        of_base, lexical = self._context_of_base(context), self._lexical(known, context)
        return self._joined(self._base.encode_queries(known, of_base, show_progress), lexical)

    def _lexical(self, texts: list[str], context: CorpusContext) -> Embeddings:
        return lexical_vectors(texts, context.term_statistics(), self._settings.lexical_width)

    def _joined(self, answer: object, lexical: Embeddings) -> Embeddings:
        return with_lexical_part(checked_embeddings(answer, len(lexical), self._base.width), lexical)
