"""`compare`: every searcher of a comparison on one set, with nothing embedded twice under one context."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.evaluation.comparison import Comparison, Row
from cde_retrievers.evaluation.comparison_plan import Plan
from cde_retrievers.evaluation.contexts import NamedTexts
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.encoded import EncodedDataset, LexicalView
from cde_retrievers.evaluation.evaluator import evaluation_of, evaluation_of_hits
from cde_retrievers.evaluation.hits import Hits, hits_of_others
from cde_retrievers.evaluation.metrics import DEPTH
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder, embedded_once
from cde_retrievers.evaluation.rank_fusion import fused_by_rank
from cde_retrievers.evaluation.searchers import BiEncoder, Contextual, Searcher, without_context
from cde_retrievers.index.queries import Mode
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.signatures import validated

_PARTS: tuple[Mode, ...] = ("dense", "lexical")
BY_HAND = "RRF of plain vectors and BM25"
"""Label of hybrid search as it is built by hand: without a context, and BM25 counts the words of the whole corpus."""


@validated
def compare(
    model: ContextualEncoder | str | Path,
    data: RetrievalDataset | str | Path,
    *,
    modes: Sequence[Mode] = ("hybrid", "dense", "lexical"),
    foreign: Sequence[NamedTexts | str | Path] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Sequence[int] = (),
    others: Sequence[Searcher | Embedder | str | Path] = (),
    split: str = "test",
    show_progress: bool | None = None,
) -> Comparison:
    """Compare searches of a corpus: under its own context and without one, in every mode, and any others requested.

    Without a context, vectors are the plain ones and words are weighted by the statistics of texts that are not the
    corpus. Where hybrid search is compared, so is reciprocal rank fusion of the same two parts, and of plain vectors
    and BM25 with the statistics of the whole corpus, as it is usually built by hand. Plain vectors alone are always
    there.

    Under the closed form ("whitening") the corpus is embedded once; other models embed it again under each context.

    Args:
        model: a contextual model, loaded or by name.
        data: a `RetrievalDataset`, or a BEIR folder.
        modes: how it is searched: "hybrid" by vectors and words, "dense" by vectors alone, "lexical" by words alone.
            The first one under the corpus' own context is what all others are compared with.
        foreign: other corpora whose context is tried in the first mode (paper, figure 7): sets,
            `NamedCorpus(name, texts)`, or what a `Corpus` can be read from.
        strategies: other ways of choosing context documents: "kmeans", "diverse"; in the first mode.
        seeds: other random choices of context documents; in the first mode.
        sizes: other numbers of context documents (paper, figure 16), for models that read any number; in the first
            mode.
        others: what else searches, as `evaluate` takes it: `BM25()`, `PlainEmbedding(embedding)`, another model.
        split: whose judgements of a folder are used.
        show_progress: show a bar; None for long work only.

    Raises:
        ConfigurationError: a mode, strategy, seed or size is impossible, or none this model can read; or one of
            `foreign` or `others` is of no use.
        CorpusFileError: a folder's files are missing or not as they should be.
        EvaluationDataError: the corpus has fewer than two different documents, or no query has an answer.
        ContextTooSmallError: another corpus has fewer than two different texts.
        CheckpointError: there is no model of such a name.
        MissingDependencyError: ir-measures, or what BM25 needs, is not installed; names the extra.
    """
    plan = Plan.of(
        model,
        data,
        modes=modes,
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
    rows = []
    steps = 2 + len(plan.contexts) + len(plan.others)
    with progress_bar(steps * len(plan.data.texts), show_progress, "Searching") as bar:
        for searched in _searched(plan, embedder):
            rows += searched
            bar.update(len(plan.data.texts))
    return Comparison(plan.encoder.name, tuple(rows))


def _searched(plan: Plan, embedder: ContextualEncoder | PrecomputedEmbedder) -> Iterator[list[Row]]:
    """Yield the rows of the own context, of none, and of everything else; each time, texts are embedded once."""
    own, data = Contextual(embedder), plan.data
    yield _rows(own, _found(own, data, plan.modes), data, plan.modes)
    yield _rows_without(without_context(embedder), data, plan.modes)
    for each in plan.contexts:
        searcher = Contextual(embedder, each.source, plan.modes[0])
        label = f"{searcher.context_label}, {searcher.mode}"
        found = evaluation_of(searcher, data, show_progress=False)
        yield [Row(label, each.group, found, each.size, searcher.mode)]
    for other in plan.others:
        yield [Row(other.name, "other", evaluation_of(other, data, show_progress=False))]


def _found(searcher: Contextual | BiEncoder, data: RetrievalDataset, modes: Sequence[Mode]) -> Mapping[Mode, Hits]:
    """Return the hits of each mode, and of the parts that hybrid search is made of."""
    encoded = searcher.encoded(data, modes, show_progress=False)
    known = [*modes, *(_PARTS if "hybrid" in modes else ())]
    return {mode: hits_of_others(data, DEPTH, encoded.in_mode(mode).hits) for mode in dict.fromkeys(known)}


def _rows(
    searcher: Contextual | BiEncoder, found: Mapping[Mode, Hits], data: RetrievalDataset, modes: Sequence[Mode]
) -> list[Row]:
    """Return a row for each mode, and one for reciprocal rank fusion beside hybrid search."""
    labels = {mode: replace(searcher, mode=mode).context_label for mode in modes}
    rows = [_row(f"{labels[mode]}, {mode}", mode, found[mode], searcher, data) for mode in modes]
    if "hybrid" in modes:
        hits = fused_by_rank(found["dense"], found["lexical"], DEPTH)
        rows.append(_row(f"{labels['hybrid']}, RRF", "rrf", hits, searcher, data))
    return rows


def _rows_without(searcher: Contextual | BiEncoder, data: RetrievalDataset, modes: Sequence[Mode]) -> list[Row]:
    """Return the rows without a context: plain vectors always, and last what is built by hand."""
    known = list(dict.fromkeys([*modes, "dense"]))
    found = _found(searcher, data, known)
    rows = _rows(searcher, found, data, known)
    if "hybrid" in modes:
        words = EncodedDataset(None, LexicalView.of(data, TermStatistics.of(data.texts, Analyzer())))
        hits = fused_by_rank(found["dense"], hits_of_others(data, DEPTH, words.hits), DEPTH)
        rows.append(Row(BY_HAND, "other", evaluation_of_hits(BY_HAND, hits, data), mode="rrf"))
    return rows


def _row(
    label: str, mode: Mode | Literal["rrf"], hits: Hits, searcher: Contextual | BiEncoder, data: RetrievalDataset
) -> Row:
    return Row(label, "context", evaluation_of_hits(f"{searcher.encoder.name}, {label}", hits, data), mode=mode)
