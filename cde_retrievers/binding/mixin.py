"""Shared behaviour of the frameworks' embedding objects: bound to one context, as are their copies."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from pydantic import BaseModel, Field

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.binding.vectors import load_with_settings, with_settings
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.delegating import LazyEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.vector_settings import Side, VectorSettings, vector_settings_of
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.vectors import Embeddings


class ContextBoundMixin(BaseModel):
    """Mixin for a framework's pydantic model; it comes before the framework's class."""

    side: Side = Field(
        default="both",
        description='What the context acts on: "both" documents and queries, or the "query" alone, for an index of '
        "plain vectors of the same model; closed form only.",
    )
    lexical_width: int = Field(
        default=0,
        ge=0,
        description="Numbers of a lexical part to append to each vector, for a store that knows cosine alone; 0 for "
        "none.",
    )

    language: str | None = Field(
        default="english",
        description="Language of stems and stop words, for search by words; None for neither.",
    )

    _binding: ContextBinding

    @property
    def context(self) -> CorpusContext:
        """The fitted context; raises ContextNotFittedError before `fit`."""
        return self._binding.context

    @property
    def is_fitted(self) -> bool:
        """Whether there is a context."""
        return self._binding.is_fitted

    @property
    def embedder(self) -> Embedder:
        """The model, which holds no context, for others that embed under this one.

        An unpickled object loads it at first use.
        """
        return self._binding.encoder

    def use_context(self, fingerprint: str) -> CorpusContext:
        """Return the context for an index built under it; from now on `fit` requires `refit=True`.

        Raises:
            ContextNotFittedError: there is none yet.
            ContextMismatchError: the context has another fingerprint.
        """
        return self._binding.use(fingerprint)

    @property
    def stamp(self) -> str:
        """What an index states of its documents' vectors: the context's fingerprint, or that they are plain.

        Plain vectors (`side="query"`) are of a model alone: their stamp stays the same through every `fit`.

        Raises:
            ContextNotFittedError: they depend on a context, and there is none yet.
        """
        return self._binding.stamp

    @property
    def documents_are_plain(self) -> bool:
        """Whether the context acts on queries alone, so that any index of the model's plain vectors fits."""
        return self._binding.documents_are_plain

    def check_context(self, stamp: str) -> None:
        """Raise ContextMismatchError if documents no longer get that stamp."""
        self._binding.check_still(stamp)

    def embed_texts(self, texts: list[str]) -> Embeddings:
        """Return the vectors (n, W) of documents under the context, as the framework's own methods make them."""
        return self._binding.encode_documents(texts, show_progress=False)

    def require_contextual_documents(self, holder: str) -> None:
        """Raise ConfigurationError if documents are plain, since `holder` keeps vectors with their context."""
        if self.documents_are_plain:
            raise ConfigurationError(
                f"{holder} keeps documents with the context that they were embedded under, but with side='query' they "
                f"are plain vectors, which belong to none; use side='both' here, or keep plain vectors in a store of "
                f"another class, and the context by save_context(path)"
            )

    def with_context(self, context: CorpusContext) -> Self:
        """Return a view of the same loaded model under another context, for a second index; this one is unchanged.

        No weights are copied, and both may be used at once from several threads.

        Raises:
            ContextMismatchError: another model fitted the context.
        """
        view = self.__copy__()
        view._binding = self._binding.with_context(context)
        view._context_replaced()
        return view

    def _context_replaced(self) -> None:
        """Update fields that name the context, if the framework has any."""

    def _with_settings(self, embedder: Embedder) -> Embedder:
        """Return an embedder with the settings of these fields, which are set to its own where they are the default."""
        found = with_settings(embedder, self._vector_settings())
        own = vector_settings_of(found)
        self.side, self.lexical_width = own.side, own.lexical_width
        return found

    def _vector_settings(self) -> VectorSettings:
        return VectorSettings(self.side, self.lexical_width)

    def _loader(self) -> Callable[[], Embedder]:
        """Return a picklable function that loads the model in another process."""
        raise NotImplementedError

    def _known_width(self) -> int | None:
        """Return the length of an embedding, or None if finding it may cost a call."""
        return self.embedder.width

    def _pickled_embedder(self) -> Embedder:
        """Return the embedder for another process."""
        encoder = self.embedder
        settings = self._vector_settings()
        load = partial(load_with_settings, self._loader(), settings)
        return LazyEmbedder(encoder.name, encoder.fingerprint, self._known_width(), load, settings)

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        """Return the constructor arguments for another process, where `embedder` embeds."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        # The frameworks' own pickling drops unpicklable parts, or loads the model while the pickle is read.
        embedder = self._pickled_embedder()
        context = self.context if self.is_fitted else None
        return _restored, (type(self), self._pickled_settings(embedder), embedder, context)

    def __copy__(self) -> Self:
        twin: Self = super().__copy__()
        twin._binding = self._binding.copy()
        return twin

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The encoder is shared: it never changes, and a context is a value.
        return self.__copy__()


def _restored(
    kind: type[ContextBoundMixin], settings: dict[str, Any], embedder: Embedder, context: CorpusContext | None
) -> ContextBoundMixin:
    """Unpickle with the context; nothing is loaded, paid for or refused before the first use."""
    twin = kind(**settings)
    twin._binding = twin._binding.over(embedder)
    if context is not None:
        twin._binding.bind(context)
        twin._context_replaced()
    return twin
