"""Creating an index at a path, or continuing an interrupted build there."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, IndexFileError, PathInUseError
from cde_retrievers.index.build import SourceChangedError, build_generation, size_of
from cde_retrievers.index.build_request import BuildRequest, check_settings, new_manifest
from cde_retrievers.index.contexts import read_context, save_context
from cde_retrievers.index.incoming_documents import DocumentValidator, require_collection, require_rereadable
from cde_retrievers.index.integrity import check_staged_segments
from cde_retrievers.index.lock import bare_lock, belongs_to_lock, writer_lock
from cde_retrievers.index.manifest import STAGED, Kind, Manifest, Staging
from cde_retrievers.index.ownership import SEGMENTS, is_unwritten_marker, read_marker
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.sources_file import write_sources
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.symlinks import index_directory, is_directory, is_there
from cde_retrievers.index.vector_format import Dtype
from cde_retrievers.retrieval.document import Document
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.storage.sync import make_directory

logger = logging.getLogger(__name__)


def create_index(
    embedder: Embedder, context: CorpusContext, path: str | Path, kind: Kind, dtype: Dtype, dimensions: int | None
) -> tuple[IndexStore, Snapshot]:
    """Serve an index without documents at `path`."""
    check_settings(embedder, context, dimensions)
    store = _new_store(path)
    with disk_errors_explained(store.directory, "nothing was made"), writer_lock(store.directory, "creating"):
        _refuse_served(store)  # again: another process may have finished one before we got the lock
        if store.staged() is not None:
            raise PathInUseError(f"{path} holds an interrupted build; give another path, or finish it")
        store.claim()
        save_context(store.home, context)
        manifest = store.commit(new_manifest(embedder, context, kind, dtype, dimensions))
        return store, store.snapshot(manifest)


def finish_build(
    documents: Iterable[Document | str], request: BuildRequest, path: str | Path, show_progress: bool | None
) -> tuple[IndexStore, Snapshot, CorpusContext]:
    """Build an index at `path`, from the start or from an interruption, and serve it.

    Raises:
        As `ContextualIndex.build`.
    """
    require_collection(documents)
    if request.context is None:
        require_rereadable(documents)
    store = _new_store(path)
    state = "what is done so far is kept, and the same call continues from there"
    with disk_errors_explained(store.directory, state), writer_lock(store.directory, "building"):
        _refuse_served(store)  # again: another process may have finished it before we got the lock
        store.claim()
        staged = store.staged()
        if staged is None:
            staged = _begin(store, documents, request, show_progress)
        elif staged.staging is None or staged.staging.settings != request.settings:
            then, now = _differing(staged.staging.settings if staged.staging else {}, request.settings)
            raise ConfigurationError(
                f"{path} holds a build interrupted after {staged.documents} documents, with other settings "
                f"or another model: {then}, now {now}; use the same, or remove it"
            )
        check_staged_segments(store.directory, staged)
        store.sweep()
        context = read_context(store.directory, staged)
        finished = _finished(store, staged, documents, request, context, show_progress)
        if request.source is not None:
            finished = finished.changed(sources=write_sources(store.home, [request.source]))
        snapshot = store.snapshot(store.serve_staged(finished))
        store.sweep()
    return store, snapshot, context


def _differing(then: dict[str, object], now: dict[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Return those of two settings that are not the same."""
    names = sorted(name for name in {**then, **now} if then.get(name) != now.get(name))
    return {name: then.get(name) for name in names}, {name: now.get(name) for name in names}


def _finished(
    store: IndexStore,
    staged: Manifest,
    documents: Iterable[Document | str],
    request: BuildRequest,
    context: CorpusContext,
    show_progress: bool | None,
) -> Manifest:
    """Embed what is not done yet; if the documents have changed, begin with them, and use vectors again by text."""

    def build(start: Manifest, before: Snapshot | None = None) -> Manifest:
        intake = DocumentValidator()
        admitted, total = intake.admit(documents), size_of(documents)
        return build_generation(
            store, start, admitted, request.embedder, context, lambda: intake.named, total, show_progress, before
        )

    try:
        return build(staged)
    except SourceChangedError as error:
        before = store.snapshot(staged)
        _check_continued(documents, before, store, error)
        staging = Staging(settings=request.settings, batch=request.batch)
        return build(staged.changed(segments=(), staging=staging, named=0), before)


def _check_continued(
    documents: Iterable[Document | str], before: Snapshot, store: IndexStore, error: SourceChangedError
) -> None:
    """Refuse documents for which the context of an interrupted build was not fitted; say so if only some changed.

    Raises:
        ConfigurationError: they can be read only once, or have less than half of the texts that are done.
    """
    began = f"the interrupted build in {store.directory} began with"
    if iter(documents) is documents:
        raise ConfigurationError(
            f"the first documents are not those that {began}; give the same ones in the same order, or a list, which "
            f"is read once more to embed only texts that have no vector"
        ) from error
    admitted = DocumentValidator().admit(documents)
    known = sum(before.vector_of_text(document.text) is not None for document in admitted)
    if 2 * known < len(before):
        raise ConfigurationError(
            f"the documents are not those that {began}: they have {known:,} of the {len(before):,} texts that are "
            f"done, and the context was fitted on the others; give the same ones, or remove the directory and build "
            f"again"
        ) from error
    logger.warning(
        "some documents are not those that %s; %s of them have a vector already, and only the others are embedded. "
        "The context stays the one fitted before they changed, as in a finished index; a refit renews it",
        began,
        f"{known:,}",
    )


def _begin(
    store: IndexStore, documents: Iterable[Document | str], request: BuildRequest, show_progress: bool | None
) -> Manifest:
    """Fit the context, which also checks every document before the first is embedded, and record the start."""
    texts = (document.text for document in DocumentValidator().admit(documents))
    context = request.fitted_context(texts, show_progress)
    save_context(store.home, context)
    staging = Staging(settings=request.settings, batch=request.batch)
    return store.stage(request.new_manifest(context).changed(staging=staging))


def checked_place(path: str | Path) -> IndexStore:
    """Return the store of an index to be made, after checking that it can be made there; nothing is changed.

    Raises:
        ConfigurationError: `path` cannot be the path of a directory.
        PathInUseError: there is an index or something else at `path`.
    """
    store = IndexStore(index_directory(path))
    directory = store.directory
    with disk_errors_explained(directory, "nothing was made"):
        if is_there(directory) and not is_directory(directory):
            raise PathInUseError(f"{path} is a file; give the path of a directory")
        if any(is_there(parent) and not is_directory(parent) for parent in directory.parents):
            raise PathInUseError(f"{path} lies inside a file; give the path of a directory")
        _refuse_served(store)
        if is_directory(directory) and not _may_become_index(store):
            raise PathInUseError(
                f"{path} already holds other files; give a directory of its own, such as a new one inside"
            )
    return store


def _new_store(path: str | Path) -> IndexStore:
    """Make the directory of an unfinished index, marked as such; raises as `checked_place`."""
    store = checked_place(path)
    with disk_errors_explained(store.directory, "nothing was made"):
        make_directory(store.directory)
        with bare_lock(store.directory):
            store.set_aside_damaged_staging()
            store.claim()
    return store


def _refuse_served(store: IndexStore) -> None:
    if store.is_served:
        raise PathInUseError(
            f"{store.directory} already holds an index; open it with open(), embed it again with refit(), or "
            f"give another path"
        )


def _may_become_index(store: IndexStore) -> bool:
    """Whether the directory is empty or left by an interrupted build; names alone prove nothing.

    Raises:
        IndexFileError: there is an index without its manifest.
    """
    directory = store.directory
    if all(belongs_to_lock(entry) or is_unwritten_marker(entry) for entry in directory.iterdir()):
        return True
    if read_marker(directory) is None:
        with suppress(IndexFileError):  # a file of that name may be another program's
            return store.staged() is not None  # its seal is as reliable as a marker
        return False
    # A build writes its first manifest before its first segment.
    if is_there(directory / SEGMENTS) and not is_there(directory / STAGED):
        raise IndexFileError(
            f"{directory} already holds an index, but its manifest is missing; restore index.json from a copy, or "
            f"remove the directory"
        )
    return True
