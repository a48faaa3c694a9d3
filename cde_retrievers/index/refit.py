"""Refitting an index: the next generation is built under a new context while the present one is served."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cde_retrievers.errors import ContextFileError, IndexFileError
from cde_retrievers.index.build import SourceChangedError, build_generation
from cde_retrievers.index.build_request import BuildRequest
from cde_retrievers.index.contexts import read_context, save_context
from cde_retrievers.index.integrity import check_staged_segments
from cde_retrievers.index.manifest import Manifest, Staging
from cde_retrievers.index.open_index import OpenIndex
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.retrieval.document import Document
from cde_retrievers.retrieval.judgements import DEPTH, JudgedQueries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefitReport:
    """Result and cost of a refit.

    Attributes:
        documents: number of documents in the index.
        embedded: number of these embedded by this call; an interrupted call embedded the others.
        seconds: time spent embedding, in all calls together.
        old_context: fingerprint of the context before.
        new_context: fingerprint of the context now.
        ndcg_before: mean nDCG@10 of the judged queries under the old context; None if none were given.
        ndcg_after: the same under the new context.
    """

    documents: int
    embedded: int
    seconds: float
    old_context: str
    new_context: str
    ndcg_before: float | None = None
    ndcg_after: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        if self.old_context == self.new_context:
            return f"The context is the same as before ({self.old_context[:12]}); nothing was embedded."
        lines = [
            f"{self.documents} documents are now under context {self.new_context[:12]} (was {self.old_context[:12]}).",
            f"{self.embedded} were embedded by this call; {self.seconds:.1f} s of embedding in all.",
        ]
        if self.ndcg_before is not None and self.ndcg_after is not None:
            gain = 100 * (self.ndcg_after - self.ndcg_before)
            lines.append(f"nDCG@10 {self.ndcg_before:.3f} before, {self.ndcg_after:.3f} after ({gain:+.1f} points).")
        return "\n".join(lines)


def ndcg_of(index: IndexReader, judged: JudgedQueries | None) -> float | None:
    """Compute the mean nDCG@10 of searches for judged queries; None if there are none.

    Raises:
        MissingDependencyError: ir-measures is not installed; the message names the extra.
    """
    if judged is None:
        return None
    found = index.search(list(judged.queries.values()), k=DEPTH + 1)  # one may be the query itself
    others = (
        [(hit.id, hit.score) for hit in hits if not judged.is_itself(query, hit.id, hit.text)]
        for query, hits in zip(judged.queries, found, strict=True)
    )
    return judged.ndcg_at_10(judged.run_of(others))


def serve_refitted(state: OpenIndex, request: BuildRequest, show_progress: bool | None) -> tuple[int, float]:
    """Embed every document under the requested context, continuing an interrupted call, and move to the result.

    Args:
        state: the open index at its newest generation, its store claimed.
        request: the settings of the next generation.
        show_progress: None shows a bar for long work only.

    Returns:
        The number of documents embedded by this call, and the seconds spent embedding in all calls.
    """
    store = state.store
    manifest, done, seconds = _next(store, state.current.snapshot, request, show_progress)
    state.adopt(store.snapshot(manifest), read_context(store.directory, manifest), request.embedder)
    store.sweep()
    return done, seconds


def _next(
    store: IndexStore, served: Snapshot, request: BuildRequest, show_progress: bool | None
) -> tuple[Manifest, int, float]:
    staged = _resumable(store, request) or _begin(store, served, request, show_progress)
    if staged.context == served.manifest.context:
        store.unstage()
        return served.manifest, 0, 0.0
    before = staged.progress.consumed
    try:
        finished = _build(store, served, staged, request, show_progress)
    except SourceChangedError:
        logger.warning("documents changed after the refit was interrupted; it starts over")
        before, staged = 0, _begin(store, served, request, show_progress)
        finished = _build(store, served, staged, request, show_progress)
    seconds = finished.progress.seconds
    finished = store.serve_staged(
        finished.changed(generation=served.manifest.generation + 1, sources=served.manifest.sources)
    )
    return finished, len(served) - before, seconds


def _resumable(store: IndexStore, request: BuildRequest) -> Manifest | None:
    staged = store.staged()
    if staged is None or staged.staging is None or staged.staging.settings != request.settings:
        return None
    try:
        check_staged_segments(store.directory, staged)
        if staged.context != store.served().context:
            read_context(store.directory, staged)
    except (IndexFileError, ContextFileError) as error:
        logger.warning("%s; the interrupted refit starts over", error)
        return None
    return staged


def _begin(store: IndexStore, served: Snapshot, request: BuildRequest, show_progress: bool | None) -> Manifest:
    store.unstage()
    context = request.fitted_context((document.text for document in served.documents()), show_progress)
    if context.fingerprint != served.manifest.context:
        save_context(store.home, context)
    staging = Staging(settings=request.settings, batch=request.batch)
    staged = request.new_manifest(context).changed(staging=staging, named=served.manifest.named)
    staged = store.stage(staged)
    store.sweep()
    return staged


def _build(
    store: IndexStore, served: Snapshot, staged: Manifest, request: BuildRequest, show_progress: bool | None
) -> Manifest:
    context = read_context(store.directory, staged)
    documents: Iterator[Document] = served.documents()
    named = served.manifest.named
    return build_generation(
        store, staged, documents, request.embedder, context, lambda: named, len(served), show_progress
    )
