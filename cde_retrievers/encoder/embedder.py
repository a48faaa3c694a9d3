"""The interface of a contextual embedder, and checks of objects that implement it."""

from collections.abc import Coroutine, Iterable
from inspect import getattr_static
from typing import Protocol, cast, runtime_checkable

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.validation.vectors import Embeddings, checked_vectors

_MEMBERS = (
    "name",
    "fingerprint",
    "width",
    "check_context",
    "fit_context",
    "first_stage_vectors",
    "encode_documents",
    "encode_queries",
)


@runtime_checkable
class Embedder(Protocol):
    """Fits contexts, and embeds texts under the context given to each call. `ContextualEncoder` implements it."""

    @property
    def name(self) -> str:
        """The name or path that the model is loaded from; informative only."""

    @property
    def fingerprint(self) -> str:
        """Identity of the model, its prompts and its tokenizer."""

    @property
    def width(self) -> int:
        """Length of an embedding."""

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this model fitted the context."""

    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> CorpusContext:
        """Choose documents that represent the corpus and make its context from them."""

    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Return context vectors of documents, (n, context width) float32, not normalised."""

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed documents under a context -> (n, width) float32 unit rows."""

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus -> (n, width) float32 unit rows."""


def checked_embedder(embedder: object) -> Embedder:
    """Return `embedder`, or raise ConfigurationError if it is not an Embedder.

    Its width is not read, since that may load a model or cost a call.
    """
    missing = [member for member in _MEMBERS if getattr_static(embedder, member, None) is None]
    if missing:
        raise ConfigurationError(
            f"a loaded model is needed, found {type(embedder).__name__}, which has no {missing[0]}; load one by "
            f"ContextualEncoder.from_pretrained(name)"
        )
    return cast(Embedder, embedder)


def fitted_context(
    embedder: Embedder,
    texts: Iterable[str],
    size: int | None = None,
    strategy: str = "random",
    seed: int = 0,
    show_progress: bool | None = None,
    language: str | None = "english",
) -> CorpusContext:
    """Call `embedder.fit_context` with these arguments and check the context it returns.

    The default language is not passed on, so that embedders without sparse vectors need not know it.

    Raises:
        EmbeddingServiceError: it is not a context, or its vectors are unusable.
        ContextMismatchError: the embedder itself would refuse the context.
    """
    context: object = embedder.fit_context(
        texts, size, strategy, seed, show_progress, **({} if language == "english" else {"language": language})
    )
    if not isinstance(context, CorpusContext):
        if isinstance(context, Coroutine):
            context.close()
        raise EmbeddingServiceError(
            f"fit_context of {type(embedder).__name__} must return a CorpusContext, found {type(context).__name__}"
        )
    checked_vectors(context.vectors, len(context.documents), None)
    embedder.check_context(context)
    return context
