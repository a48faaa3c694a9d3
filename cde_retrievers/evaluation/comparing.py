"""`compare`: one model under many contexts, beside searchers that know none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.comparison import Comparison, Group, Row
from cde_retrievers.evaluation.contexts import Foreign, NamedCorpus, NamedTexts, Own, Shuffled
from cde_retrievers.evaluation.contextual import Contextual, without_context
from cde_retrievers.evaluation.evaluating import evaluation_of
from cde_retrievers.evaluation.searcher import Searcher
from cde_retrievers.optional import require
from cde_retrievers.progress import progress_bar
from cde_retrievers.retrieval_set import RetrievalSet


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

    Each row embeds the whole corpus anew.

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
    planned = [*_contexts(encoder, corpora), *_own_contexts(encoder, strategies, seeds, sizes)]
    planned += [_Planned(other.name, "other", other) for other in others]
    rows = []
    with progress_bar(len(planned) * len(judged.texts), show_progress) as bar:
        for plan in planned:
            evaluation = evaluation_of(plan.searcher, judged, show_progress=False)
            rows.append(Row(plan.label, plan.group, evaluation, plan.size))
            bar.update(len(judged.texts))
    return Comparison(encoder.name, tuple(rows))


def _contexts(encoder: ContextualEncoder, corpora: Sequence[NamedTexts]) -> Iterator[_Planned]:
    own, shuffled, without = Own(), Shuffled(), without_context(encoder)
    yield _Planned(own.label, "context", Contextual(encoder, own))
    yield _Planned(without.name.removeprefix(f"{encoder.name}, "), "context", without)
    yield _Planned(shuffled.label, "context", Contextual(encoder, shuffled))
    for corpus in corpora:
        source = Foreign(corpus)
        yield _Planned(source.label, "context", Contextual(encoder, source))


def _own_contexts(
    encoder: ContextualEncoder, strategies: Sequence[str], seeds: Sequence[int], sizes: Sequence[int]
) -> Iterator[_Planned]:
    for strategy in strategies:
        chosen = Own(strategy=strategy)
        yield _Planned(chosen.label, "strategy", Contextual(encoder, chosen))
    for seed in seeds:
        drawn = Own(seed=seed)
        yield _Planned(drawn.label, "seed", Contextual(encoder, drawn))
    for size in sizes:
        of_size = Own(size=size)
        yield _Planned(of_size.label, "size", Contextual(encoder, of_size), size)


def _check_sizes(encoder: ContextualEncoder, sizes: Sequence[int]) -> None:
    slots = getattr(encoder.config.conditioning, "context_slots", None)
    if slots is not None and sizes:
        raise ConfigurationError(f"this model reads exactly {slots} context vectors; leave sizes={list(sizes)} out")
