"""`report`: a model and a corpus in, one page out."""

from collections.abc import Sequence
from pathlib import Path

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.comparison_plan import Plan
from cde_retrievers.evaluation.comparison_run import run_plan
from cde_retrievers.evaluation.contexts import NamedTexts
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.matrix import ContextMatrix
from cde_retrievers.evaluation.precomputed import embedded_once
from cde_retrievers.evaluation.searchers import Searcher
from cde_retrievers.index.queries import Mode
from cde_retrievers.report.findings import Findings, MappedContext
from cde_retrievers.report.html import page
from cde_retrievers.storage.atomic import checked_target, replace_bytes
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.util.imports import require
from cde_retrievers.validation.signatures import validated


@validated
def report(
    model: ContextualEncoder | str | Path,
    data: RetrievalDataset | str | Path,
    path: str | Path,
    *,
    modes: Sequence[Mode] = ("hybrid", "dense", "lexical"),
    foreign: Sequence[NamedTexts | str | Path] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Sequence[int] = (),
    others: Sequence[Searcher | Embedder | str | Path] = (),
    matrix: ContextMatrix | None = None,
    split: str = "test",
    show_progress: bool | None = None,
) -> Comparison:
    """Compare as `compare` does, and write one page about it: figures, pictures, queries won and lost, the context.

    The page is a single HTML file without scripts; it loads nothing. It holds texts of the corpus and of the queries.

    Args:
        model: a contextual model, loaded or by name.
        data: a `RetrievalDataset`, as `known_items` makes one where there are no judged queries; or a BEIR folder.
        path: of the page; an older file there is replaced, when the new one is whole.
        modes: how the corpus is searched, as `compare` takes them; the page is about the first one.
        foreign: other corpora whose context is tried, as `compare` takes them.
        strategies: other ways of choosing context documents.
        seeds: other random choices of context documents.
        sizes: other numbers of context documents; two or more make a curve.
        others: what else searches, as `compare` takes it.
        matrix: of several corpora by several contexts, to be shown as well.
        split: whose judgements of a folder are used.
        show_progress: show a bar; None for long work only.

    Raises:
        PathInUseError: `path` is a directory.
        WriteError: nothing can be written there.
        ConfigurationError, CorpusFileError, ContextTooSmallError, CheckpointError: as `compare`.
        MissingDependencyError: a package of the extra "eval" is not installed.
    """
    for package in ("ir_measures", "jinja2", "matplotlib"):
        require(package, "a report", extra="eval")
    target = checked_target(path)
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
    embedder = embedded_once(plan.encoder, plan.data, show_progress)
    comparison = run_plan(plan, embedder, show_progress)
    context = MappedContext.of(embedder, plan.data, show_progress)
    written = page(Findings(plan.data, comparison, context, matrix))
    write_page(target, written)
    return comparison


def write_page(target: Path, written: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        WriteError: it cannot be written there.
    """
    # A folder's name may hold bytes that are not text.
    with disk_errors_explained(target, "the page was not written"):
        replace_bytes(target, written.encode("utf-8", "replace"))
