"""The contexts that a corpus can be searched under: its own, another corpus's, or none."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.context.selection import check_choice
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.encoder.embedder import Embedder, fitted_context
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.sparse import Analyzer, TermStatistics

_ANY_SIZE = 2


class ContextSource(Protocol):
    """Makes the context under which a set is searched, such as `OwnContext` or `ForeignContext`."""

    @property
    def label(self) -> str:
        """The context's name in tables."""

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """Return the context for searching `data` with this encoder."""


@dataclass(frozen=True, slots=True)
class OwnContext:
    """A context of the corpus that is searched, which is how a contextual model is meant to be used.

    Attributes:
        size: context documents; the model's own number if None.
        strategy: how they are chosen, see `ContextualEncoder.fit_context`.
        seed: of the choice.

    Raises:
        ConfigurationError: one of them is impossible.
    """

    size: int | None = None
    strategy: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(_ANY_SIZE if self.size is None else self.size, self.strategy, self.seed)

    @property
    def label(self) -> str:
        """The context's name in tables: what differs from the model's defaults."""
        told = [] if self.size is None else [f"{self.size} documents"]
        told += [] if self.strategy == "random" else [self.strategy]
        told += [] if self.seed == 0 else [f"seed {self.seed}"]
        return ", ".join(["own context", *told])

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`."""
        return fitted_context(encoder, data.texts, self.size, self.strategy, self.seed, show_progress=False)


class NamedTexts(Protocol):
    """A corpus that is not searched, such as a `RetrievalDataset` whose queries play no part."""

    @property
    def name(self) -> str:
        """The context's name in tables."""

    @property
    def texts(self) -> Sequence[str]:
        """Its documents."""


@dataclass(frozen=True, slots=True)
class NamedCorpus:
    """A corpus that is not searched, read from a file or folder.

    Attributes:
        name: of the file or folder.
        texts: its documents.
    """

    name: str
    texts: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> "NamedCorpus":
        """Read the documents that `Corpus` finds there, except those without text.

        Raises:
            CorpusFileError: files are missing or not as they should be.
        """
        return cls(Path(path).name, tuple(Corpus(path, ReadOptions(skip_empty=True)).texts()))


@dataclass(frozen=True, slots=True)
class ForeignContext:
    """A context of another corpus, to measure what a missing refit costs (paper, figure 7).

    Attributes:
        corpus: the other one.
    """

    corpus: NamedTexts

    @property
    def label(self) -> str:
        """The context's name in tables."""
        return f"context of {self.corpus.name}"

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`."""
        return fitted_context(encoder, self.corpus.texts, show_progress=False)


@dataclass(frozen=True, slots=True)
class ShuffledContext:
    """The corpus' own context in another order: whether the order matters to the model.

    Attributes:
        seed: of the order.
    """

    seed: int = 1

    @property
    def label(self) -> str:
        """The context's name in tables."""
        return "own context, shuffled"

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`."""
        context = fitted_context(encoder, data.texts, show_progress=False)
        order = np.random.default_rng(self.seed).permutation(len(context))
        return replace(
            context,
            vectors=context.vectors[order],
            documents=tuple(context.documents[place] for place in order),
            positions=tuple(context.positions[place] for place in order),
        )


@dataclass(frozen=True, slots=True)
class FittedContext:
    """A context that was fitted before.

    Attributes:
        context: the value.
        label: what it is called in tables.
    """

    context: CorpusContext
    label: str = field(default="given context")

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`.

        Raises:
            ContextMismatchError: another model fitted it.
        """
        encoder.check_context(self.context)
        return self.context


@dataclass(frozen=True, slots=True)
class NullContext:
    """No context: the null vector replaces every context vector, in models that have one.

    Words are weighted by the statistics of the generic texts.
    """

    @property
    def label(self) -> str:
        """The context's name in tables."""
        return "no context (null vector)"

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`.

        Raises:
            ConfigurationError: the model has no null vector.
        """
        return replace(_with_weights(encoder, self.label).null_context(), terms=generic_statistics())


@dataclass(frozen=True, slots=True)
class GenericContext:
    """The context of the generic texts that ship with the package."""

    @property
    def label(self) -> str:
        """The context's name in tables."""
        return "no context (generic texts)"

    def fit(self, encoder: Embedder, data: RetrievalDataset) -> CorpusContext:
        """As `ContextSource.fit`."""
        return _with_weights(encoder, self.label).generic_context(show_progress=False)


def generic_statistics() -> TermStatistics:
    """Term statistics of the generic texts that ship with the package: those of no corpus in particular."""
    return TermStatistics.of(generic_texts(), Analyzer())


def _with_weights(encoder: Embedder, label: str) -> ContextualEncoder:
    """Return `encoder`, or raise if it is not a ContextualEncoder.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(encoder, ContextualEncoder):
        raise ConfigurationError(f"{label!r} needs a ContextualEncoder, found {type(encoder).__name__}; load a model")
    return encoder
