"""The searchers that can be evaluated: a model under contexts, any plain embedding, and BM25."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.contexts import ContextSource, GenericContext, NullContext, OwnContext
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.util.imports import imported, require
from cde_retrievers.validation.vectors import checked_embeddings, checked_vectors, checked_width, unit_rows


@runtime_checkable
class Searcher(Protocol):
    """Finds documents for queries. `Contextual`, `PlainEmbedding` and `BM25` are some."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """Find the `depth` best documents for each query of a set, or all if the corpus has fewer.

        Args:
            data: corpus and queries.
            depth: hits per query.
            show_progress: show a bar; None for long work only.
        """


@dataclass(frozen=True)
class Contextual:
    """Exact search by the embeddings of a contextual model.

    Attributes:
        encoder: the model.
        context: under which context documents and queries are embedded.
    """

    encoder: Embedder
    context: ContextSource = field(default_factory=OwnContext)

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.encoder.name}, {self.context.label}"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`."""
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

    encoder: ContextualEncoder | PrecomputedEmbedder

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.encoder.name}, no context (its bi-encoder)"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`."""
        config = self.encoder.config
        documents = self.encoder.biencoder_vectors(data.texts, config.document_prompt, show_progress)
        queries = self.encoder.biencoder_vectors(data.judged.queries.values(), config.query_prompt, False)
        return Hits.of_vectors(unit_rows(documents), unit_rows(queries), depth)


def without_context(encoder: ContextualEncoder | PrecomputedEmbedder) -> Searcher:
    """Return the closest equivalent of the model without a context.

    The closed form becomes its bi-encoder, a model with a null vector is given that, and one without is given texts
    that are not a corpus. The name of the searcher says which.

    Args:
        encoder: the model.
    """
    if isinstance(encoder, PrecomputedEmbedder) or isinstance(encoder.config.conditioning, WhiteningConditioning):
        return BiEncoder(encoder)
    has_null = encoder.model.second_stage.null_vector is not None
    return Contextual(encoder, NullContext() if has_null else GenericContext())


Embed = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class PlainEmbedding:
    """Exact search by the cosine of any embedding.

    Attributes:
        embedding: of sentence-transformers (`encode`), LangChain (`embed_documents`, `embed_query`) or LlamaIndex
            (`get_text_embedding_batch`, `get_query_embedding`).
        name: what it is called in tables.
    """

    embedding: object
    name: str = "plain embedding"

    def __post_init__(self) -> None:
        _calls(self.embedding)

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`; raises EmbeddingServiceError if an answer is not one vector for each text."""
        of_documents, of_queries = _calls(self.embedding)
        asked = list(data.judged.queries.values())
        documents = checked_vectors(of_documents(list(data.texts)), len(data.texts), None)
        queries = checked_vectors(of_queries(asked), len(asked), documents.shape[1])
        return Hits.of_vectors(unit_rows(documents), unit_rows(queries), depth)


def _calls(embedding: Any) -> tuple[Embed, Embed]:
    """Return the functions that embed documents and queries.

    Raises:
        ConfigurationError: the object has none of the supported embedding methods.
    """
    if hasattr(embedding, "embed_documents") and hasattr(embedding, "embed_query"):
        return embedding.embed_documents, lambda texts: [embedding.embed_query(text) for text in texts]
    if hasattr(embedding, "get_text_embedding_batch") and hasattr(embedding, "get_query_embedding"):
        return embedding.get_text_embedding_batch, lambda texts: [embedding.get_query_embedding(t) for t in texts]
    if hasattr(embedding, "encode_document") and hasattr(embedding, "encode_query"):
        return embedding.encode_document, embedding.encode_query
    if hasattr(embedding, "encode"):
        return embedding.encode, embedding.encode
    raise ConfigurationError(
        f"{type(embedding).__name__} is not a supported embedding; give an embedding of LangChain, LlamaIndex or "
        f"sentence-transformers, or a class with a `name` and a `search` as `Searcher` describes"
    )


_EXTRA = "eval"


@dataclass(frozen=True, slots=True)
class BM25:
    """BM25 by bm25s: Lucene's variant, English stop words and Snowball stemmer, title and text as one.

    Attributes:
        k1: term-frequency saturation.
        b: length normalisation.

    Raises:
        MissingDependencyError: bm25s or its stemmer is not installed; names the extra.
    """

    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        for package in ("bm25s", "Stemmer"):
            require(package, "BM25", extra=_EXTRA)

    @property
    def name(self) -> str:
        """Its name in tables."""
        return "BM25"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`. A document that shares no word with the query is not found."""
        bm25s = imported("bm25s", "BM25", extra=_EXTRA)
        index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        index.index(_words(bm25s, data.texts), show_progress=bool(show_progress))
        found = index.retrieve(
            _words(bm25s, list(data.judged.queries.values())),
            k=min(depth, len(data.texts)),
            show_progress=bool(show_progress),
        )
        scores = found.scores.astype(np.float32)
        return Hits(found.documents.astype(np.int64), np.where(scores > 0, scores, -np.inf).astype(np.float32))


def _words(bm25s: Any, texts: Any) -> Any:
    stemmer = imported("Stemmer", "BM25", extra=_EXTRA).Stemmer("english")
    return bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)


Plain = PlainEmbedding
"""The earlier name."""
