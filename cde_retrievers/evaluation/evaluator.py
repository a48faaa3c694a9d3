"""`evaluate`: search judged queries with a model and measure the results."""

from pathlib import Path

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.contexts import ContextSource, FittedContext, OwnContext
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.metrics import DEPTH, MEASURES
from cde_retrievers.evaluation.results import KEPT, Evaluation
from cde_retrievers.evaluation.searchers import Contextual, Searcher, check_mode, hits_of
from cde_retrievers.index.queries import Mode
from cde_retrievers.retrieval.judgements import DEPTH as FIRST_PAGE
from cde_retrievers.util.imports import require
from cde_retrievers.validation.signatures import validated


@validated
def evaluate(
    model: Searcher | Embedder | str | Path,
    data: RetrievalDataset | str | Path,
    context: CorpusContext | ContextSource | None = None,
    *,
    mode: Mode = "dense",
    split: str = "test",
    show_progress: bool | None = None,
) -> Evaluation:
    """Search a judged corpus and measure the results: nDCG@10, Recall@100, MRR@10 and MAP of every query.

    Args:
        model: a contextual model, loaded or by the name that `ContextualEncoder.from_pretrained` takes; or `BM25()`,
            `PlainEmbedding(embedding)` or another `Searcher`.
        data: a `RetrievalDataset`, or a BEIR folder.
        context: under which context a contextual model embeds: one that was fitted before, or `OwnContext`,
            `ForeignContext`, `ShuffledContext` and the like; its own corpus' with the model's defaults if None.
        mode: how a contextual model searches: "dense" by vectors alone, "lexical" by words alone, "hybrid" by both, as
            a `ContextualIndex` does by default.
        split: whose judgements of a folder are used.
        show_progress: show a bar; None for long work only.

    Raises:
        CorpusFileError: the folder's files are missing or not as they should be.
        EvaluationDataError: the corpus has fewer than two different documents, or no query has an answer.
        ConfigurationError: the model is not supported, or it takes no context or mode but one is given.
        ContextMismatchError: the context was fitted by another model, or carries no term statistics and words are
            searched.
        MissingDependencyError: ir-measures, or what BM25 needs, is not installed; names the extra.
    """
    require("ir_measures", "evaluation", extra="eval")
    judged = data if isinstance(data, RetrievalDataset) else RetrievalDataset.read(data, split)
    judged.check_judged()
    return evaluation_of(searcher_of(model, context, mode), judged, show_progress)


def evaluation_of(searcher: Searcher, data: RetrievalDataset, show_progress: bool | None = None) -> Evaluation:
    """Evaluate a searcher on a set."""
    return evaluation_of_hits(searcher.name, hits_of(searcher, data, DEPTH, show_progress), data)


def evaluation_of_hits(name: str, hits: Hits, data: RetrievalDataset) -> Evaluation:
    """Evaluate what a searcher of that name found on a set."""
    run = hits.run(data)
    best = tuple(tuple(run[query])[:KEPT] for query in data.judged.queries)
    return Evaluation(
        name,
        data.name,
        len(data.texts),
        tuple(data.judged.queries),
        data.judged.per_query(run, MEASURES),
        best,
    )


def ndcg_at_10(searcher: Searcher, data: RetrievalDataset, show_progress: bool | None = None) -> float:
    """Return a searcher's mean nDCG@10, from ten hits a query: `evaluate` without intervals or other measures.

    Raises:
        MissingDependencyError: ir-measures is not installed; names the extra.
    """
    return data.judged.ndcg_at_10(hits_of(searcher, data, FIRST_PAGE, show_progress).run(data))


def searcher_of(
    model: Searcher | Embedder | str | Path,
    context: CorpusContext | ContextSource | None = None,
    mode: Mode = "dense",
) -> Searcher:
    """Return the searcher for a model under a context, in a mode.

    Raises:
        CheckpointError: there is no model of that name.
        ConfigurationError: the model is not supported, the mode is unknown, or the model takes no context or mode but
            one is given.
    """
    check_mode(mode)
    if isinstance(model, type):
        raise ConfigurationError(f"model must be an instance, found the class {model.__name__}; give an instance of it")
    if isinstance(model, str | Path):
        model = ContextualEncoder.from_pretrained(model)
    if isinstance(model, Embedder):
        source = FittedContext(context) if isinstance(context, CorpusContext) else context
        return Contextual(model, OwnContext() if source is None else source, mode)
    if not isinstance(model, Searcher):
        raise ConfigurationError(
            f"{type(model).__name__} cannot be evaluated as it is; wrap an embedding that takes no context as "
            f"PlainEmbedding(embedding), or give a ContextualEncoder"
        )
    if context is not None:
        raise ConfigurationError(f"{model.name} takes no context; leave it out")
    if mode != "dense":
        raise ConfigurationError(f"{model.name} takes no mode; leave out mode={mode!r}")
    return model
