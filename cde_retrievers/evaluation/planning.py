"""What a comparison will search, and how: settled and checked before the corpus is embedded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cde_retrievers.embedder import Embedder
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.evaluation.comparison import Group
from cde_retrievers.evaluation.contexts import ContextSource, Fitted, Foreign, NamedCorpus, NamedTexts, Own, Shuffled
from cde_retrievers.evaluation.evaluating import searcher_of
from cde_retrievers.evaluation.searcher import Searcher
from cde_retrievers.optional import require
from cde_retrievers.retrieval_set import RetrievalSet


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
    """One model under many contexts, beside searchers that know none.

    Attributes:
        encoder: the model.
        data: what is searched.
        contexts: the corpus' own first.
        others: what else searches.
    """

    encoder: ContextualEncoder
    data: RetrievalSet
    contexts: tuple[PlannedContext, ...]
    others: tuple[Searcher, ...]

    @classmethod
    def of(
        cls,
        model: ContextualEncoder | str | Path,
        data: RetrievalSet | str | Path,
        *,
        foreign: Sequence[NamedTexts | str | Path],
        strategies: Sequence[str],
        seeds: Sequence[int],
        sizes: Sequence[int],
        others: Sequence[Searcher | Embedder | str | Path],
        split: str,
    ) -> Self:
        """Load and read what is named, and fit the contexts of other corpora; arguments and errors as `compare`."""
        require("ir_measures", "evaluation", extra="eval")
        encoder = model if isinstance(model, ContextualEncoder) else ContextualEncoder.from_pretrained(model)
        judged = data if isinstance(data, RetrievalSet) else RetrievalSet.read(data, split)
        _check_sizes(encoder, sizes)
        searchers = tuple(searcher_of(other) for other in others)
        own = list(_own_contexts(strategies, seeds, sizes))
        corpora = [_named(each) for each in foreign]
        usual = [PlannedContext(Own(), "context"), PlannedContext(Shuffled(), "context")]
        contexts = (*usual, *_foreign_contexts(encoder, judged, corpora), *own)
        return cls(encoder, judged, contexts, searchers)


def _own_contexts(strategies: Sequence[str], seeds: Sequence[int], sizes: Sequence[int]) -> Iterator[PlannedContext]:
    for strategy in strategies:
        yield PlannedContext(Own(strategy=strategy), "strategy")
    for seed in seeds:
        yield PlannedContext(Own(seed=seed), "seed")
    for size in sizes:
        yield PlannedContext(Own(size=size), "size", size)


def _foreign_contexts(
    encoder: ContextualEncoder, data: RetrievalSet, corpora: Sequence[NamedTexts]
) -> Iterator[PlannedContext]:
    """Fitted here and now: a corpus of which no context can be made is found before the long work."""
    for corpus in corpora:
        source = Foreign(corpus)
        try:
            context = source.fit(encoder, data)
        except ContextTooSmallError as error:
            raise ContextTooSmallError(
                f"no context can be made of {corpus.name}; give more of it, or leave it out ({error})"
            ) from error
        yield PlannedContext(Fitted(context, source.label), "context")


def _named(corpus: NamedTexts | str | Path) -> NamedTexts:
    if isinstance(corpus, str | Path):
        return NamedCorpus.read(corpus)
    if not (hasattr(corpus, "name") and hasattr(corpus, "texts")):
        raise ConfigurationError(
            f"another corpus needs a name and texts, found {type(corpus).__name__}; give NamedCorpus(name, texts), a "
            f"RetrievalSet, or the path of a file or folder"
        )
    return corpus


def _check_sizes(encoder: ContextualEncoder, sizes: Sequence[int]) -> None:
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and sizes:
        raise ConfigurationError(f"this model reads exactly {slots} context vectors; leave sizes={list(sizes)} out")
