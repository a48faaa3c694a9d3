"""Contextual models as searchers. Axes: n texts, W width."""

from dataclasses import dataclass, field

from cde_retrievers.embedder import Embedder
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.evaluation.contexts import ContextSource, Generic, Null, Own
from cde_retrievers.evaluation.embedded_once import EmbeddedOnce
from cde_retrievers.evaluation.searcher import Searcher
from cde_retrievers.hits import Hits
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.retrieval_set import RetrievalSet
from cde_retrievers.unit_rows import unit_rows
from cde_retrievers.vectors import checked_embeddings, checked_width


@dataclass(frozen=True)
class Contextual:
    """Exact search by the embeddings of a contextual model.

    Attributes:
        encoder: the model.
        context: under which context documents and queries are embedded.
    """

    encoder: Embedder
    context: ContextSource = field(default_factory=Own)

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.encoder.name}, {self.context.label}"

    def search(self, data: RetrievalSet, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        context = self.context.fit(self.encoder, data)
        asked = list(data.judged.queries.values())
        documents = self.encoder.encode_documents(data.texts, context, show_progress)
        queries = self.encoder.encode_queries(asked, context, show_progress=False)
        width = checked_width(self.encoder.width)
        return Hits.of_vectors(
            checked_embeddings(documents, len(data.texts), width), checked_embeddings(queries, len(asked), width), depth
        )


@dataclass(frozen=True)
class BiEncoder:
    """The bi-encoder that a model was made from: its first stage alone.

    Attributes:
        encoder: the model.
    """

    encoder: ContextualEncoder | EmbeddedOnce

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.encoder.name}, no context (its bi-encoder)"

    def search(self, data: RetrievalSet, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        config = self.encoder.config
        documents = self.encoder.biencoder_vectors(data.texts, config.document_prompt, show_progress)
        queries = self.encoder.biencoder_vectors(data.judged.queries.values(), config.query_prompt, False)
        return Hits.of_vectors(unit_rows(documents), unit_rows(queries), depth)


def without_context(encoder: ContextualEncoder | EmbeddedOnce) -> Searcher:
    """What comes nearest to the model without a context.

    The closed form becomes its bi-encoder, a model with a null vector is given that, and one without is given texts
    that are no corpus. The name of the searcher says which.

    Args:
        encoder: the model.
    """
    if isinstance(encoder, EmbeddedOnce) or isinstance(encoder.config.conditioning, WhiteningConditioning):
        return BiEncoder(encoder)
    has_null = encoder.model.second_stage.null_vector is not None
    return Contextual(encoder, Null() if has_null else Generic())
