"""Making a plan: the source is read once, checked, and written as numbered inputs, so that no worker reads it again."""

import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cde_retrievers.bulk.id_check import id_hashes, refuse_repeated_ids, repeated_hashes
from cde_retrievers.bulk.input_file import hash_of, read_input, write_input
from cde_retrievers.bulk.paths import CONTEXT, INPUTS, MODEL, PLAN_FILE, SHARDS, input_file
from cde_retrievers.bulk.plan_file import Plan, ShardInput, SourceFiles
from cde_retrievers.bulk.probe import probe_vector
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.corpora import CheckedCorpus, Corpus
from cde_retrievers.corpora.discovery import find_source
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.recorded_source import absolute, differing_files, reading_as_json
from cde_retrievers.encoder.backends.arithmetic import Backend, Precision
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, CorpusFileError, PathInUseError, PlanError
from cde_retrievers.index.incoming_documents import batches, require_collection
from cde_retrievers.model.pretrained import BUILT_IN
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.storage.hashing import sha256_of_file
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.paths import checked_path
from cde_retrievers.validation.signatures import validated

ROWS = 20_000
"""Rows of a shard: what a killed worker loses at most."""


@validated
def plan(
    source: Iterable[Document | str] | str | Path,
    model: ContextualEncoder | str | Path,
    context: CorpusContext | str | Path,
    out: str | Path,
    rows_per_shard: int = ROWS,
    *,
    sparse: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    backend: Backend | None = None,
    precision: Precision = "auto",
    show_progress: bool | None = None,
) -> Plan:
    """Write a plan into the directory `out`, whole or not at all: everything that workers need but the model itself.

    Every row is checked, and nothing is embedded but one fixed text. The rows are copied into the plan: workers then
    read nothing but their own, and what is embedded does not change with the source. Called again for the same
    unchanged files, it reads them again, and returns the plan that is there if its rows are the same.

    Args:
        source: a file or folder, a `Corpus`, or documents, which are read once. Documents without an id are named
            "doc-0", "doc-1" and so on, by their place.
        model: a name or path for `ContextualEncoder.from_pretrained`, which every worker must be able to load, or a
            loaded encoder, which is saved inside the plan.
        context: the context, or where it is saved; a copy goes into the plan.
        out: a new directory on a file system that all workers see.
        rows_per_shard: rows of a shard, which a worker has in memory, and loses if it is killed.
        sparse: also write sparse vectors, whose products with those of queries are BM25.
        device: for the fixed text, which is embedded here.
        dtype: number format of all workers; "auto" is what this machine takes. A loaded encoder has its own.
        backend: of all workers, as for `ContextualEncoder.from_pretrained`; likewise.
        precision: likewise.
        show_progress: None shows a bar for long work only.

    Raises:
        PathInUseError: `out` holds something else, or a plan of other files, of other settings, of another context or,
            as files that are split in another way make them, of other rows.
        CorpusFileError: the source changes while it is read, or has since its `Corpus` was made; and as `Corpus`.
        DuplicateIdError, InvalidDocumentError, InvalidTextError: a row cannot be stored.
        ContextMismatchError: another model fitted the context, or it has no term statistics, which `sparse` needs.
        ConfigurationError: a path is a URL, such as that of an object store.
        CheckpointError, DeviceError, WriteError: as `ContextualEncoder.from_pretrained` and `ContextualEncoder.save`.
    """
    check_whole("rows_per_shard", rows_per_shard, 1)
    target = checked_path(out, "out")
    rows = Corpus(checked_path(source, "source")) if isinstance(source, str | Path) else source
    require_collection(rows)
    encoder = _loaded(model, device=device, dtype=dtype, backend=backend, precision=precision)
    known = CorpusContext.load(checked_path(context, "context")) if isinstance(context, str | Path) else context
    encoder.check_context(known)
    settings: dict[str, Any] = {
        "model": None if isinstance(model, ContextualEncoder) else encoder.name,
        "model_fingerprint": encoder.fingerprint,
        "context_fingerprint": known.fingerprint,
        "backend": encoder.backend,
        "precision": encoder.precision,
        "width": encoder.width,
        "sparse": sparse,
        "rows_per_shard": rows_per_shard,
        "source": _source_of(rows),
    }
    if sparse:
        known.term_statistics()
    if (target / PLAN_FILE).exists():
        found = _with_the_same_settings(Plan.load(target), settings)
        _refuse_other_rows(found, rows)
        return found
    with atomic_directory(target, is_ours=lambda _: False) as directory:
        shards = _write_inputs(directory, rows, rows_per_shard, show_progress)
        if _source_of(rows) != settings["source"]:
            raise CorpusFileError(
                f"{settings['source'].path} changed while it was read; plan again when it is complete"
            )
        known.save(directory / CONTEXT)
        if settings["model"] is None:
            encoder.save(directory / MODEL)
        (directory / SHARDS).mkdir()
        probe = tuple(probe_vector(encoder, known).tolist())
        Plan(directory=target, **settings, probe=probe, shards=shards).write(directory)
    return Plan.load(target)


def _loaded(model: ContextualEncoder | str | Path, **settings: Any) -> ContextualEncoder:
    if not isinstance(model, ContextualEncoder):
        name = str(checked_path(model, "model"))
        if name not in BUILT_IN and Path(name).is_dir():
            name = os.path.abspath(name)  # workers have other working directories
        return ContextualEncoder.from_pretrained(name, **settings)
    given = [f"{name}={value!r}" for name, value in settings.items() if value not in ("auto", None)]
    if given:
        raise ConfigurationError(
            f"a loaded encoder has its own {', '.join(settings)}, found {', '.join(given)} besides; leave these out, "
            f"or give the name or path of the model"
        )
    return model


def _source_of(rows: object) -> SourceFiles | None:
    corpus = rows.corpus if isinstance(rows, CheckedCorpus) else rows
    if not isinstance(corpus, Corpus):
        return None
    return SourceFiles(path=absolute(corpus.path), reading=reading_as_json(corpus.reading), files=_file_hashes(corpus))


def _file_hashes(corpus: Corpus) -> dict[str, str]:
    """Return the SHA-256 of each file of a source by its name, but for those that `skip_errors` leaves out.

    Raises:
        CorpusFileError: a file cannot be read, or has come or gone since the corpus was made.
    """
    hashes = {}
    for file in _unchanged_files(corpus):
        try:
            hashes[file.name] = sha256_of_file(file.path)
        except OSError as error:
            if corpus.reading.skip_errors:
                continue
            raise CorpusFileError(
                f"{file.path} cannot be read: {error.strerror}; change its permissions, or remove it"
            ) from error
    return hashes


def _unchanged_files(corpus: Corpus) -> tuple[File, ...]:
    differing = sorted(
        file.name for file in set(corpus.source.files) ^ set(find_source(corpus.path, corpus.reading).files)
    )
    if differing:
        raise CorpusFileError(
            f"files of {corpus.path} have come or gone since they were looked for ({', '.join(differing[:5])}); plan "
            f"again with a new Corpus when it is complete"
        )
    return corpus.source.files


def _refuse_other_rows(found: Plan, rows: Iterable[Document | str]) -> None:
    """Raise PathInUseError unless a plan has these rows; a plan does not record functions that split or count."""
    now = map(hash_of, batches(_checked(rows), found.rows_per_shard))
    planned = (shard.sha256 for shard in found.shards)
    if any(one != other for one, other in zip_longest(now, planned)):
        raise PathInUseError(
            f"{found.directory} already holds a plan with other rows of the same files, which were split or read in "
            f"another way; run that plan, or give another directory"
        )


def _with_the_same_settings(found: Plan, settings: dict[str, Any]) -> Plan:
    """Return the plan that is there, or raise PathInUseError if it is not the one that is asked for."""
    differing = sorted(name for name, value in settings.items() if getattr(found, name) != value)
    source = settings["source"]
    if source is None:
        raise PathInUseError(
            f"{found.directory} already holds a plan, and documents that do not come from files cannot be compared "
            f"with it; run that plan, or give another directory"
        )
    if not differing:
        return found
    if differing == ["source"] and found.source is not None and found.source.path == source.path:
        changed = differing_files(found.source.files, source.files)
        if changed:
            raise PathInUseError(
                f"{source.path} has changed since {found.directory} was planned ({', '.join(changed[:5])}); plan into "
                f"a new directory, or restore the files"
            )
    raise PathInUseError(
        f"{found.directory} already holds a plan with another {', '.join(differing)}; run that plan, or give another "
        f"directory"
    )


def _write_inputs(
    directory: Path, rows: Iterable[Document | str], rows_per_shard: int, show_progress: bool | None
) -> tuple[ShardInput, ...]:
    (directory / INPUTS).mkdir()
    shards, hashes = [], []
    with progress_bar(None, show_progress, "Planning", "document") as bar:
        for number, batch in enumerate(batches(_checked(rows), rows_per_shard)):
            shards.append(write_input(input_file(directory, number), batch))
            hashes.append(id_hashes(batch))
            bar.update(len(batch))
    if not shards:
        raise PlanError("there are no documents to embed; give a source that has some")
    suspects = repeated_hashes(hashes)
    if suspects:
        refuse_repeated_ids(_planned(directory, shards), suspects)
    return tuple(shards)


def _checked(rows: Iterable[Document | str]) -> Iterator[Document]:
    for place, row in enumerate(rows):
        document = checked_document(row, place)
        yield document if document.id is not None else Document(document.text, f"doc-{place}", document.metadata)


def _planned(directory: Path, shards: Iterable[ShardInput]) -> Iterator[Document]:
    for number, shard in enumerate(shards):
        yield from read_input(input_file(directory, number), shard)
