"""The searchers that can be evaluated: a model under contexts or without one, and any plain embedding."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args, runtime_checkable

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.evaluation.contexts import (
    ContextSource,
    GenericContext,
    NullContext,
    OwnContext,
    generic_statistics,
)
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.encoded import DenseView, EncodedDataset, LexicalView
from cde_retrievers.evaluation.hits import Hits, hits_of_others
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.index.queries import Mode
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.validation.vectors import checked_vectors, unit_rows


@runtime_checkable
class Searcher(Protocol):
    """Finds documents for queries. `Contextual`, `PlainEmbedding` and `BM25` are some."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """Find the `depth` best documents for each query of a set, or all if the corpus has fewer.

        A query may be a document of the corpus (`RetrievalDataset.own_rows`). Evaluation leaves it out of its own hits;
        the searchers of this package do so themselves.

        Args:
            data: corpus and queries.
            depth: hits per query.
            show_progress: show a bar; None for long work only.
        """


@dataclass(frozen=True)
class Contextual:
    """Exact search under a context: by the embeddings of a contextual model, by words, or by both, as an index does.

    Attributes:
        encoder: the model.
        context: under which context documents and queries are encoded.
        mode: "dense" for vectors alone, "lexical" for words alone, "hybrid" for both.

    Raises:
        ConfigurationError: the mode is unknown.
    """

    encoder: Embedder
    context: ContextSource = field(default_factory=OwnContext)
    mode: Mode = "dense"

    def __post_init__(self) -> None:
        check_mode(self.mode)

    @property
    def context_label(self) -> str:
        """The context's name in tables."""
        return self.context.label

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.encoder.name}, {self.context_label}, {self.mode}"

    def encoded(
        self, data: RetrievalDataset, modes: Collection[Mode], show_progress: bool | None = None
    ) -> EncodedDataset:
        """Return the views of a set that these modes search by.

        Raises:
            ContextMismatchError: words are searched, and the context carries no term statistics.
        """
        context = self.context.fit(self.encoder, data)
        lexical = LexicalView.of(data, context.term_statistics()) if _searches_words(modes) else None
        dense = DenseView.of(self.encoder, data, context, show_progress) if _searches_vectors(modes) else None
        return EncodedDataset(dense, lexical)

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`; errors as `encoded`."""
        return hits_of_others(data, depth, self.encoded(data, [self.mode], show_progress).hits)


@dataclass(frozen=True)
class BiEncoder:
    """The bi-encoder that a model was made from: its first stage alone. Words count as in the generic texts.

    Attributes:
        encoder: the model.
        mode: as in `Contextual`.

    Raises:
        ConfigurationError: the mode is unknown.
    """

    encoder: ContextualEncoder | PrecomputedEmbedder
    mode: Mode = "dense"

    def __post_init__(self) -> None:
        check_mode(self.mode)

    @property
    def context_label(self) -> str:
        """What takes the place of a context, as its name in tables."""
        parts = [] if self.mode == "lexical" else ["its bi-encoder"]
        parts += [] if self.mode == "dense" else ["generic texts"]
        return f"no context ({', '.join(parts)})"

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.encoder.name}, {self.context_label}, {self.mode}"

    def encoded(
        self, data: RetrievalDataset, modes: Collection[Mode], show_progress: bool | None = None
    ) -> EncodedDataset:
        """Return the views of a set that these modes search by."""
        lexical = LexicalView.of(data, generic_statistics()) if _searches_words(modes) else None
        return EncodedDataset(self._dense(data, show_progress) if _searches_vectors(modes) else None, lexical)

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher.search`."""
        return hits_of_others(data, depth, self.encoded(data, [self.mode], show_progress).hits)

    def _dense(self, data: RetrievalDataset, show_progress: bool | None) -> DenseView:
        config = self.encoder.config
        documents = self.encoder.biencoder_vectors(data.texts, config.document_prompt, show_progress)
        queries = self.encoder.biencoder_vectors(data.judged.queries.values(), config.query_prompt, False)
        return DenseView(unit_rows(documents), unit_rows(queries))


def check_mode(mode: object) -> None:
    """Raise ConfigurationError unless this is a mode of search."""
    if mode not in get_args(Mode):
        raise ConfigurationError(f"mode {shown(mode)} is unknown; use one of {list(get_args(Mode))}")


def _searches_words(modes: Collection[Mode]) -> bool:
    return any(mode != "dense" for mode in modes)


def _searches_vectors(modes: Collection[Mode]) -> bool:
    return any(mode != "lexical" for mode in modes)


def without_context(encoder: ContextualEncoder | PrecomputedEmbedder, mode: Mode = "dense") -> Contextual | BiEncoder:
    """Return the closest equivalent of the model without a context.

    The closed form becomes its bi-encoder, a model with a null vector is given that, and one without is given texts
    that are not a corpus. Words are weighted by the statistics of such texts. The name of the searcher says which.

    Args:
        encoder: the model.
        mode: as in `Contextual`.
    """
    if isinstance(encoder, PrecomputedEmbedder) or isinstance(encoder.config.conditioning, WhiteningConditioning):
        return BiEncoder(encoder, mode)
    has_null = encoder.model.second_stage.null_vector is not None
    return Contextual(encoder, NullContext() if has_null else GenericContext(), mode)


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
        found, asking = unit_rows(documents), unit_rows(queries)
        return hits_of_others(data, depth, lambda count: Hits.of_vectors(found, asking, count))


def hits_of(searcher: Searcher, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
    """Search with any searcher; a query that is itself a document is left out of its own hits."""
    return hits_of_others(data, depth, lambda count: searcher.search(data, count, show_progress))


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


Plain = PlainEmbedding
"""The earlier name."""
