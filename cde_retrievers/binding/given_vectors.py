"""Embeddings that a store is filled through, with vectors that were computed elsewhere. Axes: n texts, W width."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, Vectors


class EmbedderOfKnownDocuments(DelegatingEmbedder):
    """An embedder that has vectors of some documents already, under one context; others are embedded as ever.

    Args:
        base: the embedder of everything else.
        context: fingerprint of the context of these vectors.
        texts: n documents.
        vectors: (n, W) unit rows.
    """

    def __init__(self, base: Embedder, context: str, texts: Sequence[str], vectors: Vectors) -> None:
        super().__init__(base.name, base.fingerprint)
        self._base = base
        self._context = context
        self._known = dict(zip(texts, vectors, strict=True))

    def _embedder(self) -> Embedder:
        return self._base

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Return the known vectors where all of them are known under this context, else embed -> (n, W)."""
        wanted = list(checked_texts(texts))
        if wanted and context.fingerprint == self._context and self._known.keys() >= set(wanted):
            return np.stack([self._known[text] for text in wanted])
        return self._base.encode_documents(wanted, context, show_progress)


@contextmanager
def given_vectors(binding: ContextBinding, texts: Sequence[str], vectors: Vectors) -> Iterator[None]:
    """Let a binding answer with given vectors (n, W) of documents under its context while the block runs."""
    before = binding.encoder
    binding.encoder = EmbedderOfKnownDocuments(before, binding.context.fingerprint, texts, vectors)
    try:
        yield
    finally:
        binding.encoder = before
