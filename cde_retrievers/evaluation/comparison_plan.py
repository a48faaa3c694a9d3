"""One model under several contexts: the rows of a comparison, checked before embedding, and their evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.evaluation.comparison import Group
from cde_retrievers.evaluation.contexts import (
    ContextSource,
    FittedContext,
    ForeignContext,
    NamedCorpus,
    NamedTexts,
    OwnContext,
)
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import searcher_of
from cde_retrievers.evaluation.searchers import Searcher, check_mode
from cde_retrievers.index.queries import Mode
from cde_retrievers.util.imports import require


@dataclass(frozen=True, slots=True)
class PlannedContext:
    """A context to search under.

    Attributes:
        source: makes it.
        group: what it is there for.
        size: of it in documents, where sizes are what is compared.
    """

    source: ContextSource
    group: Group
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One model under many contexts, along with searchers that take no context.

    Attributes:
        encoder: the model.
        data: what is searched.
        modes: how the corpus is searched under its own context and without one.
        contexts: further ones, for the first mode.
        others: what else searches.
    """

    encoder: ContextualEncoder
    data: RetrievalDataset
    modes: tuple[Mode, ...]
    contexts: tuple[PlannedContext, ...]
    others: tuple[Searcher, ...]

    @classmethod
    def of(
        cls,
        model: ContextualEncoder | str | Path,
        data: RetrievalDataset | str | Path,
        *,
        modes: Sequence[Mode],
        foreign: Sequence[NamedTexts | str | Path],
        strategies: Sequence[str],
        seeds: Sequence[int],
        sizes: Sequence[int],
        others: Sequence[Searcher | Embedder | str | Path],
        split: str,
    ) -> Self:
        """Load and read what is named, and fit the contexts of other corpora; arguments and errors as `compare`."""
        require("ir_measures", "evaluation", extra="eval")
        _check_modes(modes)
        encoder = model if isinstance(model, ContextualEncoder) else ContextualEncoder.from_pretrained(model)
        judged = data if isinstance(data, RetrievalDataset) else RetrievalDataset.read(data, split)
        judged.check_judged()
        _check_sizes(encoder, sizes)
        searchers = tuple(searcher_of(other) for other in others)
        own = list(_own_contexts(strategies, seeds, sizes))
        corpora = [_named(each) for each in foreign]
        contexts = (*_foreign_contexts(encoder, judged, corpora), *own)
        return cls(encoder, judged, tuple(modes), contexts, searchers)


def _own_contexts(strategies: Sequence[str], seeds: Sequence[int], sizes: Sequence[int]) -> Iterator[PlannedContext]:
    for strategy in strategies:
        yield PlannedContext(OwnContext(strategy=strategy), "strategy")
    for seed in seeds:
        yield PlannedContext(OwnContext(seed=seed), "seed")
    for size in sizes:
        yield PlannedContext(OwnContext(size=size), "size", size)


def _foreign_contexts(
    encoder: ContextualEncoder, data: RetrievalDataset, corpora: Sequence[NamedTexts]
) -> Iterator[PlannedContext]:
    """Yield a context of each corpus; one that is too small for a context is found before the long work."""
    for corpus in corpora:
        source = ForeignContext(corpus)
        try:
            context = source.fit(encoder, data)
        except ContextTooSmallError as error:
            raise ContextTooSmallError(
                f"no context can be made of {corpus.name}; give more documents of it, or leave it out ({error})"
            ) from error
        yield PlannedContext(FittedContext(context, source.label), "context")


def _named(corpus: NamedTexts | str | Path) -> NamedTexts:
    if isinstance(corpus, str | Path):
        return NamedCorpus.read(corpus)
    if not (hasattr(corpus, "name") and hasattr(corpus, "texts")):
        raise ConfigurationError(
            f"another corpus needs a name and texts, found {type(corpus).__name__}; give NamedCorpus(name, texts), a "
            f"RetrievalDataset, or the path of a file or folder"
        )
    return corpus


def _check_modes(modes: Sequence[Mode]) -> None:
    for mode in modes:
        check_mode(mode)
    if not modes or len(set(modes)) < len(modes):
        raise ConfigurationError(f"modes={list(modes)} must name at least one mode of search, and none twice")


def _check_sizes(encoder: ContextualEncoder, sizes: Sequence[int]) -> None:
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and sizes:
        raise ConfigurationError(f"this model reads exactly {slots} context vectors; leave sizes={list(sizes)} out")
