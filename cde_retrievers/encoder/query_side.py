"""The context on the query side alone: documents keep plain vectors, which fit every context. Axes: W width."""

from collections.abc import Iterable
from functools import cached_property

import torch
from torch.nn.functional import normalize

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.closed_form import ClosedForm
from cde_retrievers.encoder.context_cache import PreparedContextCache
from cde_retrievers.encoder.derived import DerivedEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.vector_settings import VectorSettings
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.whitening import WhiteningMap, fit_whitening, on_queries_alone
from cde_retrievers.validation.vectors import Embeddings, unit_rows


class QuerySideEmbedder(DerivedEmbedder):
    """An `Embedder` of plain documents and of queries under a context, by the closed form.

    An index of plain vectors that exists already is searched under any context of its corpus, and a new context costs
    no document's embedding.

    Args:
        base: a `ContextualEncoder` of conditioning "whitening", or a `WhitenedEmbedder`.

    Raises:
        ConfigurationError: the base's contexts act by more than the closed form.
    """

    def __init__(self, base: Embedder) -> None:
        self._plain = _closed_form(base)
        super().__init__(base, "query side")
        self._maps = PreparedContextCache(self._map)

    @property
    def vector_settings(self) -> VectorSettings:
        """Those of a context on the query's side."""
        return VectorSettings(side="query")

    @cached_property
    def plain_fingerprint(self) -> str:
        """Identity of what the vectors of documents depend on."""
        return self._plain.fingerprint()

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed documents -> (n, W) float32 plain unit rows, the same under every context."""
        return unit_rows(self._plain.documents(texts, self._context_of_base(context), show_progress))

    @torch.no_grad()
    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus -> (n, W) float32 unit rows."""
        plain = self._plain.queries(texts, self._context_of_base(context), show_progress)
        rows = torch.from_numpy(unit_rows(plain))
        embeddings: Embeddings = normalize(self._maps.of(context)(rows), dim=-1).numpy()
        return embeddings

    def _map(self, context: CorpusContext) -> WhiteningMap:
        settings = self._plain.settings
        vectors = torch.from_numpy(context.vectors.copy())
        return on_queries_alone(fit_whitening(vectors, settings.power, settings.shrinkage))


def _closed_form(base: Embedder) -> ClosedForm:
    closed_form: ClosedForm | None = getattr(base, "closed_form", None)
    if closed_form is None:
        raise ConfigurationError(
            f"side='query' needs a model whose contexts act by the closed form alone, and {base.name!r} is none of "
            f"them; use side='both', the model 'minilm', another one by ContextualEncoder.from_biencoder(name, "
            f"'whitening'), or WhitenedEmbeddings (LlamaIndex: WhitenedEmbedding) over any embedding"
        )
    return closed_form
