"""A corpus embedded once, to be searched under many contexts of the closed form. Axes: n texts, W width."""

from collections.abc import Iterable

import torch

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.context.fitting import fit_context_of
from cde_retrievers.encoder.closed_form import ClosedForm, closed_form_over
from cde_retrievers.encoder.context_cache import PreparedContextCache, by_second_stage
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.external.embedder import whitened_rows
from cde_retrievers.external.vector_cache import VectorCache
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings


class PrecomputedEmbedder:
    """An `Embedder` that embeds the texts of a set once, and applies the closed form under every context to them.

    No context changes the plain vectors that the closed form maps, so those of a set's documents and queries are
    computed when this is made. It holds one vector (W,) for each of them, and for each text that it is given later.

    Vectors differ from the encoder's in the last digits, which depend on what shares a batch with a text. Of two texts
    that are the same to the tokenizer they also decide whether a context counts one vector or two.

    Args:
        encoder: of conditioning "whitening".
        data: the set.
        show_progress: show a bar; None for long work only.
    """

    def __init__(self, encoder: ContextualEncoder, data: RetrievalDataset, show_progress: bool | None = None) -> None:
        self._encoder = encoder
        self.name = encoder.name
        self.fingerprint = encoder.fingerprint
        self.width = encoder.width
        self.config = encoder.config
        self._cache = VectorCache(mebibytes=None)  # of texts with their prompts
        self.biencoder_vectors(data.texts, self.config.document_prompt, show_progress)
        self.biencoder_vectors(data.judged.queries.values(), self.config.query_prompt, show_progress=False)
        # The map is applied where the vectors are kept.
        self._prepared = PreparedContextCache(by_second_stage(encoder.model.second_stage, torch.device("cpu")))

    def check_context(self, context: CorpusContext) -> None:
        """As `ContextualEncoder.check_context`."""
        self._encoder.check_context(context)

    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> CorpusContext:
        """As `ContextualEncoder.fit_context`."""
        size = self.config.context_size if size is None else size
        return fit_context_of(self, texts, size, strategy, seed, show_progress, language=language)

    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """As `ContextualEncoder.first_stage_vectors`; under the closed form they are the plain vectors."""
        return self.biencoder_vectors(texts, self.config.document_prompt, show_progress)

    def biencoder_vectors(self, texts: Iterable[str], prompt: str, show_progress: bool | None = None) -> Embeddings:
        """As `ContextualEncoder.biencoder_vectors`; only new texts are embedded."""
        return self._cache.vectors(
            [prompt + text for text in checked_texts(texts)],
            self.width,
            lambda new: [self._encoder.biencoder_vectors(new, "", show_progress)],
        )

    @property
    def closed_form(self) -> ClosedForm | None:
        """As `ContextualEncoder.closed_form`."""
        return closed_form_over(self, self._encoder.first_stage_fingerprint)

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """As `ContextualEncoder.encode_documents`."""
        return self._encode(texts, self.config.document_prompt, context, show_progress)

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """As `ContextualEncoder.encode_queries`."""
        return self._encode(texts, self.config.query_prompt, context, show_progress)

    def _encode(
        self, texts: Iterable[str], prompt: str, context: CorpusContext, show_progress: bool | None
    ) -> Embeddings:
        self.check_context(checked_context(context))
        return whitened_rows(self._prepared.of(context), self.biencoder_vectors(texts, prompt, show_progress))


def embedded_once(
    encoder: ContextualEncoder, data: RetrievalDataset, show_progress: bool | None = None
) -> ContextualEncoder | PrecomputedEmbedder:
    """Return the cheapest embedder for a set under many contexts: the encoder, unless it is the closed form.

    Args:
        encoder: the model.
        data: what will be searched.
        show_progress: show a bar; None for long work only.
    """
    is_closed_form = isinstance(encoder.config.conditioning, WhiteningConditioning)
    return PrecomputedEmbedder(encoder, data, show_progress) if is_closed_form else encoder
