"""`compare`: one model under many contexts, beside searchers that know none."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cde_retrievers.embedder import Embedder
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.evaluation.comparison import Comparison, Group, Row
from cde_retrievers.evaluation.contexts import NamedTexts
from cde_retrievers.evaluation.contextual import Contextual, without_context
from cde_retrievers.evaluation.embedded_once import EmbeddedOnce, embedded_once
from cde_retrievers.evaluation.evaluating import evaluation_of
from cde_retrievers.evaluation.planning import Plan
from cde_retrievers.evaluation.searcher import Searcher
from cde_retrievers.progress import progress_bar
from cde_retrievers.retrieval_set import RetrievalSet
from cde_retrievers.signatures import validated


@validated
def compare(
    model: ContextualEncoder | str | Path,
    data: RetrievalSet | str | Path,
    *,
    foreign: Sequence[NamedTexts | str | Path] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Sequence[int] = (),
    others: Sequence[Searcher | Embedder | str | Path] = (),
    split: str = "test",
    show_progress: bool | None = None,
) -> Comparison:
    """What context does for a model on a corpus: its own, none, its own shuffled, and whatever else is asked for.

    Under the closed form ("whitening") the corpus is embedded once; other models embed it anew for each row.

    Args:
        model: a contextual model, loaded or by name.
        data: a `RetrievalSet`, or a BEIR folder.
        foreign: other corpora whose context is tried (paper, figure 7): sets, `NamedCorpus(name, texts)`, or what a
            `Corpus` can be read from.
        strategies: other ways of choosing context documents: "kmeans", "diverse".
        seeds: other random choices of context documents.
        sizes: other numbers of context documents (paper, figure 16), for models that read any number.
        others: what else searches, as `evaluate` takes it: `BM25()`, `Plain(embedding)`, another model.
        split: whose judgements of a folder are used.
        show_progress: True or False, or None for a bar only where the work is long.

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
    return carry_out(plan, embedded_once(plan.encoder, plan.data, show_progress), show_progress)


def carry_out(plan: Plan, embedder: ContextualEncoder | EmbeddedOnce, show_progress: bool | None = None) -> Comparison:
    """What a plan finds.

    Args:
        plan: what is searched, and how.
        embedder: `embedded_once` of its model and set.
        show_progress: True or False, or None for a bar only where the work is long.
    """
    searches = list(_searches(plan, embedder))
    rows = []
    with progress_bar(len(searches) * len(plan.data.texts), show_progress, "Searching") as bar:
        for label, group, searcher, size in searches:
            rows.append(Row(label, group, evaluation_of(searcher, plan.data, show_progress=False), size))
            bar.update(len(plan.data.texts))
    return Comparison(plan.encoder.name, tuple(rows))


def _searches(
    plan: Plan, embedder: ContextualEncoder | EmbeddedOnce
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
