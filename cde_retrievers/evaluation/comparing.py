"""`compare`: one model under many contexts, beside searchers that know none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.comparison import Comparison, Group, Row
from cde_retrievers.evaluation.contexts import ContextSource, Foreign, NamedCorpus, NamedTexts, Own, Shuffled
from cde_retrievers.evaluation.contextual import Contextual, without_context
from cde_retrievers.evaluation.embedded_once import embedded_once
from cde_retrievers.evaluation.evaluating import evaluation_of
from cde_retrievers.evaluation.searcher import Searcher
from cde_retrievers.optional import require
from cde_retrievers.progress import progress_bar
from cde_retrievers.retrieval_set import RetrievalSet


@dataclass(frozen=True, slots=True)
class _Asked:
    """A context to search under."""

    source: ContextSource
    group: Group
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row before it is evaluated."""

    label: str
    group: Group
    searcher: Searcher
    size: int | None = None


def compare(
    model: ContextualEncoder | str | Path,
    data: RetrievalSet | str | Path,
    *,
    foreign: Sequence[NamedTexts | str | Path] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Sequence[int] = (),
    others: Sequence[Searcher] = (),
    split: str = "test",
    show_progress: bool | None = None,
) -> Comparison:
    """What context does for a model on a corpus: its own, none, its own shuffled, and whatever else is asked for.

    Under the closed form ("whitening") the corpus is embedded once; other models embed it anew for each row.

    Args:
        model: a contextual model, loaded or by name.
        data: a `RetrievalSet`, or a BEIR folder.
        foreign: other corpora whose context is tried (paper, figure 7): sets, what a `Corpus` can be read from, or
            what has a `name` and `texts`.
        strategies: other ways of choosing context documents: "kmeans", "diverse".
        seeds: other random choices of context documents.
        sizes: other numbers of context documents (paper, figure 16), for models that read any number.
        others: what else searches, such as `BM25()` or `Plain(embedding)`.
        split: whose judgements of a folder are used.
        show_progress: True or False, or None for a bar only where the work is long.

    Raises:
        ConfigurationError: a strategy, seed or size is impossible, or none this model can read.
        CorpusFileError: a folder's files are missing or not as they should be.
        MissingDependencyError: ir-measures, or what BM25 needs, is not installed; names the extra.
    """
    require("ir_measures", "evaluation", extra="eval")
    encoder = model if isinstance(model, ContextualEncoder) else ContextualEncoder.from_pretrained(model)
    judged = data if isinstance(data, RetrievalSet) else RetrievalSet.read(data, split)
    corpora = [NamedCorpus.read(each) if isinstance(each, str | Path) else each for each in foreign]
    _check_sizes(encoder, sizes)
    asked = [*_contexts(corpora), *_own_contexts(strategies, seeds, sizes)]
    embedder = embedded_once(encoder, judged, show_progress)
    without = without_context(embedder)
    planned = [_Planned(each.source.label, each.group, Contextual(embedder, each.source), each.size) for each in asked]
    planned.insert(1, _Planned(without.name.removeprefix(f"{encoder.name}, "), "context", without))
    planned += [_Planned(other.name, "other", other) for other in others]
    rows = []
    with progress_bar(len(planned) * len(judged.texts), show_progress, "Searching") as bar:
        for plan in planned:
            evaluation = evaluation_of(plan.searcher, judged, show_progress=False)
            rows.append(Row(plan.label, plan.group, evaluation, plan.size))
            bar.update(len(judged.texts))
    return Comparison(encoder.name, tuple(rows))


def _contexts(corpora: Sequence[NamedTexts]) -> Iterator[_Asked]:
    yield _Asked(Own(), "context")
    yield _Asked(Shuffled(), "context")
    for corpus in corpora:
        yield _Asked(Foreign(corpus), "context")


def _own_contexts(strategies: Sequence[str], seeds: Sequence[int], sizes: Sequence[int]) -> Iterator[_Asked]:
    for strategy in strategies:
        yield _Asked(Own(strategy=strategy), "strategy")
    for seed in seeds:
        yield _Asked(Own(seed=seed), "seed")
    for size in sizes:
        yield _Asked(Own(size=size), "size", size)


def _check_sizes(encoder: ContextualEncoder, sizes: Sequence[int]) -> None:
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and sizes:
        raise ConfigurationError(f"this model reads exactly {slots} context vectors; leave sizes={list(sizes)} out")
