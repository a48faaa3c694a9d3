"""Fitting a context on a corpus, for every kind of embedder. Axes: n texts, N context vectors, W width."""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.selection import select_documents
from cde_retrievers.errors import ContextTooSmallError
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.storage.hashing import sha256_of_text

_SAME_VECTOR = 1e-3  # relative spread that rounding can cause, even in bfloat16


class FirstStageModel(Protocol):
    """What fitting needs of an embedder; members as in `Embedder`."""

    @property
    def name(self) -> str:
        """The name or path that the model is loaded from."""

    @property
    def fingerprint(self) -> str:
        """Identity of the model."""

    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> NDArray[np.float32]:
        """Return context vectors of documents (n, W), not normalised."""


def fit_context_of(
    model: FirstStageModel,
    texts: Iterable[str],
    size: int,
    strategy: str,
    seed: int,
    show_progress: bool | None,
    *,
    recorded_as: str | None = None,
    probe: Callable[[], NDArray[np.float32]] | None = None,
    language: str | None = "english",
) -> CorpusContext:
    """Choose documents that represent the corpus and make its context from them.

    Args:
        model: the model that embeds them.
        texts: the corpus; any iterable, read once, in bounded memory.
        size: number of context documents.
        strategy: how they are chosen; a key of `selection.STRATEGIES`.
        seed: seed of that choice.
        show_progress: None shows a bar for long work only.
        recorded_as: the strategy stated in the context, if it is not `strategy`.
        probe: returns the vector (W,) of the probe; called after the documents were embedded.
        language: language of stems and stop words, as in `Analyzer`.

    Raises:
        ConfigurationError: size, strategy, seed or language is impossible.
        InvalidTextError: the corpus is not a collection of texts.
        ContextTooSmallError: there are fewer than two distinct documents, or all look the same to the model.
        EmbeddingServiceError: the model did not return one finite vector for each text.
    """
    analyzer = Analyzer(language)
    chosen = select_documents(
        texts, size, strategy, seed, lambda sample: model.first_stage_vectors(sample, show_progress)
    )
    if np.ptp(chosen.vectors, axis=0).max() < _SAME_VECTOR * np.abs(chosen.vectors).max():
        raise ContextTooSmallError(
            f"all context documents look the same to the model ({chosen.distinct} distinct ones, such as "
            f"{chosen.texts[0][:60]!r}), so it cannot tell them apart; fit on the whole corpus"
        )
    return CorpusContext(
        vectors=chosen.vectors,
        model_name=model.name,
        model_fingerprint=model.fingerprint,
        documents=tuple(sha256_of_text(text) for text in chosen.texts),
        positions=tuple(chosen.positions),
        distinct=chosen.distinct,
        corpus_size=chosen.seen,
        strategy=strategy if recorded_as is None else recorded_as,
        seed=int(seed),
        probe=None if probe is None else probe(),
        terms=TermStatistics.of(dict.fromkeys(chosen.texts), analyzer),
    )


def context_of_no_corpus(vectors: NDArray[np.float32], model_name: str, model_fingerprint: str) -> CorpusContext:
    """Make a context of null vectors (N, width), without documents."""
    return CorpusContext(
        vectors=vectors,
        model_name=model_name,
        model_fingerprint=model_fingerprint,
        documents=(),
        positions=(),
        distinct=0,
        corpus_size=0,
        strategy="null",
        seed=0,
    )
