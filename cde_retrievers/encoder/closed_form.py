"""The closed form of an embedder: plain vectors, and the settings by which a context acts on them. Axes: W width."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.model.config import ContextualConfig, WhiteningConditioning
from cde_retrievers.validation.vectors import Embeddings


class PlainVectors(Protocol):
    """Embeds texts before the context acts."""

    def __call__(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None, /
    ) -> Embeddings:
        """Return vectors (n, W) float32, not normalised.

        Raises:
            InvalidTextError: `texts` is not a collection of texts.
            ContextMismatchError: the context was fitted by another model.
        """


@dataclass(frozen=True, slots=True, eq=False)
class ClosedForm:
    """What an embedder states whose contexts act by the closed form on vectors that do not depend on them.

    Attributes:
        settings: settings of the closed form.
        fingerprint: computes the identity of what plain vectors depend on.
        documents: embeds documents.
        queries: embeds queries.
    """

    settings: WhiteningConditioning
    fingerprint: Callable[[], str]
    documents: PlainVectors
    queries: PlainVectors


class BiencoderVectors(Protocol):
    """An encoder that returns the plain vectors of its bi-encoder, such as `ContextualEncoder`."""

    config: ContextualConfig

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this model fitted the context."""

    def biencoder_vectors(self, texts: Iterable[str], prompt: str, show_progress: bool | None = None) -> Embeddings:
        """Return plain vectors of texts, (n, W) float32, not normalised."""


def closed_form_over(encoder: BiencoderVectors, fingerprint: Callable[[], str]) -> ClosedForm | None:
    """Return the closed form of an encoder, or None if its contexts act by more.

    Args:
        encoder: embeds the texts.
        fingerprint: computes the identity of its bi-encoder.
    """
    config = encoder.config
    if not isinstance(config.conditioning, WhiteningConditioning):
        return None

    def plain(prompt: str) -> PlainVectors:
        def embed(texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None, /) -> Embeddings:
            encoder.check_context(checked_context(context))
            return encoder.biencoder_vectors(texts, prompt, show_progress)

        return embed

    return ClosedForm(config.conditioning, fingerprint, plain(config.document_prompt), plain(config.query_prompt))
