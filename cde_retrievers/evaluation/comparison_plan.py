"""One model under several contexts: the rows of a comparison, checked before embedding, and their evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.evaluation.comparison import Comparison, Group, Row
from cde_retrievers.evaluation.contexts import (
    ContextSource,
    FittedContext,
    ForeignContext,
    NamedCorpus,
    NamedTexts,
    OwnContext,
    ShuffledContext,
)
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import evaluation_of, searcher_of
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder, embedded_once
from cde_retrievers.evaluation.searchers import Contextual, Searcher, without_context
from cde_retrievers.util.imports import require
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.signatures import validated


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
        contexts: the corpus' own first.
        others: what else searches.
    """

    encoder: ContextualEncoder
    data: RetrievalDataset
    contexts: tuple[PlannedContext, ...]
    others: tuple[Searcher, ...]

    @classmethod
    def of(
        cls,
        model: ContextualEncoder | str | Path,
        data: RetrievalDataset | str | Path,
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
        judged = data if isinstance(data, RetrievalDataset) else RetrievalDataset.read(data, split)
        _check_sizes(encoder, sizes)
        searchers = tuple(searcher_of(other) for other in others)
        own = list(_own_contexts(strategies, seeds, sizes))
        corpora = [_named(each) for each in foreign]
        usual = [PlannedContext(OwnContext(), "context"), PlannedContext(ShuffledContext(), "context")]
        contexts = (*usual, *_foreign_contexts(encoder, judged, corpora), *own)
        return cls(encoder, judged, contexts, searchers)


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


def _check_sizes(encoder: ContextualEncoder, sizes: Sequence[int]) -> None:
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and sizes:
        raise ConfigurationError(f"this model reads exactly {slots} context vectors; leave sizes={list(sizes)} out")


@validated
def compare(
    model: ContextualEncoder | str | Path,
    data: RetrievalDataset | str | Path,
    *,
    foreign: Sequence[NamedTexts | str | Path] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Sequence[int] = (),
    others: Sequence[Searcher | Embedder | str | Path] = (),
    split: str = "test",
    show_progress: bool | None = None,
) -> Comparison:
    """Compare the contexts of a model on a corpus: its own, none, its own shuffled, and any others requested.

    Under the closed form ("whitening") the corpus is embedded once; other models embed it again for each row.

    Args:
        model: a contextual model, loaded or by name.
        data: a `RetrievalDataset`, or a BEIR folder.
        foreign: other corpora whose context is tried (paper, figure 7): sets, `NamedCorpus(name, texts)`, or what a
            `Corpus` can be read from.
        strategies: other ways of choosing context documents: "kmeans", "diverse".
        seeds: other random choices of context documents.
        sizes: other numbers of context documents (paper, figure 16), for models that read any number.
        others: what else searches, as `evaluate` takes it: `BM25()`, `PlainEmbedding(embedding)`, another model.
        split: whose judgements of a folder are used.
        show_progress: show a bar; None for long work only.

    Raises:
        ConfigurationError: a strategy, seed or size is impossible, or none this model can read; or one of `foreign` or
            `others` is of no use.
        CorpusFileError: a folder's files are missing or not as they should be.
        ContextTooSmallError: another corpus has fewer than two different texts.
        CheckpointError: there is no model of such a name.
        MissingDependencyError: ir-measures, or what BM25 needs, is not installed; names the extra.
    """
    plan = Plan.of(
        model,
        data,
        foreign=foreign,
        strategies=strategies,
        seeds=seeds,
        sizes=sizes,
        others=others,
        split=split,
    )
    return run_plan(plan, embedded_once(plan.encoder, plan.data, show_progress), show_progress)


def run_plan(
    plan: Plan, embedder: ContextualEncoder | PrecomputedEmbedder, show_progress: bool | None = None
) -> Comparison:
    """Evaluate every searcher of a plan.

    Args:
        plan: what is searched, and how.
        embedder: `embedded_once` of its model and set.
        show_progress: show a bar; None for long work only.
    """
    searches = list(_searches(plan, embedder))
    rows = []
    with progress_bar(len(searches) * len(plan.data.texts), show_progress, "Searching") as bar:
        for label, group, searcher, size in searches:
            rows.append(Row(label, group, evaluation_of(searcher, plan.data, show_progress=False), size))
            bar.update(len(plan.data.texts))
    return Comparison(plan.encoder.name, tuple(rows))


def _searches(
    plan: Plan, embedder: ContextualEncoder | PrecomputedEmbedder
) -> Iterator[tuple[str, Group, Searcher, int | None]]:
    """Label, group, searcher and context size of every row; without a context comes second."""
    own, *contexts = plan.contexts
    without = without_context(embedder)
    yield own.source.label, own.group, Contextual(embedder, own.source), own.size
    yield without.name.removeprefix(f"{embedder.name}, "), "context", without, None
    for each in contexts:
        yield each.source.label, each.group, Contextual(embedder, each.source), each.size
    for other in plan.others:
        yield other.name, "other", other, None
