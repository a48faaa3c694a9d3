"""Building a generation from a stream of documents in durable batches, with interrupted builds continued."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence, Sized

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.cut_texts import cut_texts_told_once
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.index.compaction import accelerated, merged_tail
from cde_retrievers.index.entries import SegmentEntry
from cde_retrievers.index.incoming_documents import batches
from cde_retrievers.index.manifest import Manifest, Staging
from cde_retrievers.index.segment_writer import write_segment
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.vector_format import VectorFormat
from cde_retrievers.retrieval.document import Document, to_line
from cde_retrievers.util.progress import Progress, progress_bar
from cde_retrievers.validation.signatures import is_iterable
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings


class SourceChangedError(Exception):
    """The documents are not those that were read before the interruption."""


def build_generation(
    store: IndexStore,
    staged: Manifest,
    documents: Iterable[Document],
    embedder: Embedder,
    context: CorpusContext,
    named: Callable[[], int],
    total: int | None,
    show_progress: bool | None,
    before: Snapshot | None = None,
) -> Manifest:
    """Embed the remaining documents under the context, batch by batch, and finish the staged generation.

    Args:
        store: store of the index.
        staged: the state of the build; written to disk after every batch.
        documents: all documents, checked, with ids; those already done are read but not embedded.
        embedder: embedder of the context.
        context: the context, already saved.
        named: number of documents that were assigned an id so far.
        total: number of documents, if known.
        show_progress: None shows a bar for long work only.
        before: documents of the same context, whose vectors are used again by text.

    Returns:
        The manifest, ready to be served.

    Raises:
        SourceChangedError: the documents differ from those already done.
    """
    staging = staged.progress
    done, skipped, digest = staging.consumed, 0, ""
    with cut_texts_told_once(), _bar(total, show_progress, done) as bar:
        for batch in batches(documents, staging.batch):
            digest = _chained(digest, batch)
            if skipped < done:
                skipped += len(batch)
                if skipped >= done and (skipped != done or digest != staging.digest):
                    raise SourceChangedError
                bar.update(len(batch))
            else:
                start = time.perf_counter()
                vectors = reused_or_embedded(before, embedder, batch, context, staged.vector_format, bar)
                staging = staging.model_copy(update={"seconds": staging.seconds + time.perf_counter() - start})
                entry = write_segment(store.home, batch, vectors, context.terms, staged.vector_format)
                staged, staging = _append(store, staged, staging, entry, len(batch), digest, named())
    if skipped < done:
        raise SourceChangedError
    return accelerated(store, staged)


def _bar(total: int | None, show_progress: bool | None, done: int) -> Progress:
    return progress_bar(total, show_progress, "Indexing", "document", at_once=done > 0)


def _append(
    store: IndexStore,
    staged: Manifest,
    staging: Staging,
    entry: SegmentEntry,
    read: int,
    digest: str,
    named: int,
) -> tuple[Manifest, Staging]:
    """Record a segment made of the next documents, `read` of them."""
    entries = merged_tail(store.home, (*staged.segments, entry), staged.vector_format)
    staging = staging.model_copy(update={"consumed": staging.consumed + read, "digest": digest})
    staged = staged.changed(segments=entries, staging=staging, named=named)
    staged = store.stage(staged)
    store.sweep()
    return staged, staging


def _chained(digest: str, batch: list[Document]) -> str:
    """Extend the hash chain over all documents by one batch."""
    link = hashlib.sha256(digest.encode("ascii"))
    for document in batch:
        link.update(to_line(document))
    return link.hexdigest()


def size_of(documents: Iterable[object]) -> int | None:
    """Return the number of documents, or None if the collection has no length."""
    return len(documents) if is_iterable(documents) and isinstance(documents, Sized) else None


def reused_or_embedded(
    before: Snapshot | None,
    embedder: Embedder,
    documents: Sequence[Document],
    context: CorpusContext,
    form: VectorFormat,
    bar: Progress,
) -> Embeddings:
    """Return vectors (n, W): those that `before` has for the same texts; the others are embedded as in `embedded`."""
    vectors = np.empty((len(documents), form.dimensions), dtype=np.float32)
    new = []
    for place, document in enumerate(documents):
        known = None if before is None else before.vector_of_text(document.text)
        if known is None:
            new.append(place)
        else:
            vectors[place] = known
    bar.update(len(documents) - len(new))
    if new:
        vectors[new] = embedded(embedder, [documents[place] for place in new], context, form, bar)
    return vectors


# Seconds of work on a slow CPU: a bar that stands still for a minute looks like a program that hangs.
_AT_A_TIME = 512


def embedded(
    embedder: Embedder, documents: Sequence[Document], context: CorpusContext, form: VectorFormat, bar: Progress
) -> Embeddings:
    """Embed n documents under the context -> unit vectors (n, W); the bar counts documents.

    Args:
        embedder: embedder of the context.
        documents: n documents.
        context: the context to embed them under.
        form: how the index stores vectors.
        bar: progress bar, updated within a batch.

    Raises:
        EmbeddingServiceError: the embedder did not return one unit vector for each document.
    """
    vectors = np.empty((len(documents), form.dimensions), dtype=np.float32)
    for start in range(0, len(documents), _AT_A_TIME):
        texts = [document.text for document in documents[start : start + _AT_A_TIME]]
        answer = embedder.encode_documents(texts, context, show_progress=False)
        vectors[start : start + len(texts)] = form.cut(checked_embeddings(answer, len(texts), form.width))
        bar.update(len(texts))
    return vectors
