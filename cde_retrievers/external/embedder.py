"""External embeddings under a context: the closed form over vectors of another library or a service.

Axes: n texts, N context vectors, W width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import normalize

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.context.fitting import fit_context_of
from cde_retrievers.encoder.closed_form import ClosedForm
from cde_retrievers.encoder.context_cache import PreparedContextCache
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.external.client import EmbeddingClient
from cde_retrievers.external.identity import Probe
from cde_retrievers.external.retries import DEFAULT_POLICY, EmbedText, EmbedTexts, RetryPolicy
from cde_retrievers.external.vector_cache import DEFAULT_MIB
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.whitening import WhiteningMap, fit_whitening
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings

DEFAULTS = WhiteningConditioning()
CONTEXT_SIZE = 512
_ROWS = 8_192  # rows whitened at a time


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Per-context state: the map, and plain vectors (W,) of its documents by the SHA-256 of their texts."""

    whiten: WhiteningMap
    known: Mapping[str, NDArray[np.float32]]


class WhitenedEmbedder:
    """An `Embedder` over any base, including paid services: the same closed form as conditioning "whitening".

    Plain vectors are not paid for twice: those of the context's documents are in the context, even in one loaded from
    disk, and the latest others are cached, including those from before a failure.

    A base is identified by its name alone, so a fixed text, the probe, is embedded at first use, once per
    `WhitenedEmbedder`. A context carries its probe from when it was fitted, and is refused if the two differ.

    Safe to use from several threads if the base is. Two threads that embed the same texts at once pay twice.

    Args:
        name: name of the base's model; part of the fingerprint.
        embed_documents: maps texts to plain vectors, in order.
        embed_query: maps a query to its plain vector; None to embed queries as documents.
        power: power of the whitening, 0 to 1; see `WhiteningConditioning`.
        shrinkage: shrinkage of the covariance, more than 0.
        batch_size: documents per call of the base.
        retries: further attempts after a failed call.
        wait: seconds before the first of them; each next wait is twice as long, a minute at most.
        keep_mib: mebibytes of plain vectors to keep in memory, for documents and for queries each.

    Raises:
        ConfigurationError: a setting is impossible.
    """

    @validated
    def __init__(
        self,
        name: str,
        embed_documents: EmbedTexts,
        embed_query: EmbedText | None = None,
        *,
        power: float = DEFAULTS.power,
        shrinkage: float = DEFAULTS.shrinkage,
        batch_size: int = DEFAULT_POLICY.batch_size,
        retries: int = DEFAULT_POLICY.retries,
        wait: float = DEFAULT_POLICY.wait,
        keep_mib: int = DEFAULT_MIB,
    ) -> None:
        self.name = name
        self.settings = WhiteningConditioning(power=power, shrinkage=shrinkage)
        self.fingerprint = sha256_of_json(["whitened", name, self.settings.model_dump(mode="json")])
        policy = RetryPolicy(batch_size, retries, wait)
        self._probe = Probe(name, embed_documents, policy)
        self._documents = EmbeddingClient(embed_documents, policy, keep_mib)
        self._queries = self._documents
        if embed_query is not None:
            # One at a time, so that an attempt after a failure does not pay for the other queries again.
            one_by_one = RetryPolicy(1, retries, wait)
            self._queries = EmbeddingClient(lambda texts: [embed_query(text) for text in texts], one_by_one, keep_mib)
        self._prepared = PreparedContextCache(self._prepare)

    @property
    def width(self) -> int:
        """Length of an embedding, taken from the probe."""
        return len(self._probe.vector)

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless the context was fitted over this base, and the base is unchanged.

        Name, power, shrinkage and width must be the same, and the cosine of the probes at least `identity.SAME_MODEL`.
        """
        if context.model_name != self.name:
            context.check_model(self.fingerprint, self.name)
        if context.model_fingerprint != self.fingerprint or context.probe is None:
            raise ContextMismatchError(
                f"this context was not fitted over {self.name!r} with {self.settings!r}; use the settings it was "
                f"fitted with, or fit a context with these and embed the corpus again"
            )
        self._probe.check(context.probe)

    @validated
    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> CorpusContext:
        """Fit a context as `ContextualEncoder.fit_context` does, of 512 documents by default.

        This pays for the candidates of the selection: `size` texts under strategy "random", eight times as
        many under the others.

        Raises:
            InvalidTextError: the corpus is not a collection of texts; nothing was paid for.
            ContextTooSmallError: it has fewer than two distinct texts, or all look the same to the base.
            ConfigurationError: size, strategy, seed or language is impossible.
            EmbeddingServiceError: every attempt failed, or the base returned something other than embeddings.
        """
        size = CONTEXT_SIZE if size is None else size
        return fit_context_of(
            self, texts, size, strategy, seed, show_progress, probe=lambda: self._probe.vector, language=language
        )

    @validated
    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Return plain vectors of documents, (n, W) float32, as the base gives them."""
        return self._documents.of(list(checked_texts(texts)), self.width, show_progress)

    @validated
    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed documents under a context -> (n, W) float32 unit rows in the order given.

        Raises:
            InvalidTextError: `texts` is not a collection of texts; nothing was paid for.
            ContextMismatchError: as `check_context`.
            EmbeddingServiceError: every attempt failed, or the base returned something other than embeddings. Calling
                again with the same texts requests only the rest.
        """
        plain = self._plain_documents(texts, context, show_progress)
        return whitened_rows(self._prepared.of(context).whiten, plain)

    @validated
    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus; otherwise as `encode_documents`."""
        plain = self._plain_queries(texts, context, show_progress)
        return whitened_rows(self._prepared.of(context).whiten, plain)

    @property
    def closed_form(self) -> ClosedForm:
        """The closed form over the base's vectors, whose identity its name alone tells."""
        identity = sha256_of_json(["plain", self.name])
        return ClosedForm(self.settings, lambda: identity, self._plain_documents, self._plain_queries)

    @validated
    def encode_documents_sparse(self, texts: Iterable[str], context: CorpusContext) -> csr_matrix:
        """Return sparse vectors of documents, as `ContextualEncoder`; the base is asked for its probe at most."""
        self.check_context(checked_context(context))
        return document_rows(checked_texts(texts), context.term_statistics())

    @validated
    def encode_queries_sparse(self, texts: Iterable[str], context: CorpusContext) -> csr_matrix:
        """Return sparse vectors of queries under the context of their corpus; otherwise as documents."""
        self.check_context(checked_context(context))
        return query_rows(checked_texts(texts), context.term_statistics())

    def _plain_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None, /
    ) -> Embeddings:
        known = list(checked_texts(texts))
        self.check_context(checked_context(context))
        return self._documents.of(known, self.width, show_progress, self._prepared.of(context).known)

    def _plain_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None, /
    ) -> Embeddings:
        known = list(checked_texts(texts))
        self.check_context(checked_context(context))
        return self._queries.of(known, self.width, show_progress)

    def _prepare(self, context: CorpusContext) -> _Prepared:
        vectors = torch.from_numpy(context.vectors.copy())
        whiten = fit_whitening(vectors, self.settings.power, self.settings.shrinkage)
        return _Prepared(whiten, dict(zip(context.documents, context.vectors, strict=True)))


@torch.no_grad()
def whitened_rows(whiten: WhiteningMap, plain: Embeddings) -> Embeddings:
    """Whiten plain vectors (n, W) in place -> unit rows under the context, computed in full precision.

    Args:
        whiten: the context's map.
        plain: the vectors, normalised or not.
    """
    for start in range(0, len(plain), _ROWS):
        rows = torch.from_numpy(plain[start : start + _ROWS])
        rows.copy_(normalize(whiten(normalize(rows, dim=-1)), dim=-1))
    return plain
