"""`sync`: an index that follows its sources."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from cde_retrievers.cli.options.common import IndexPath, ModelOptions, OutputOptions
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import ConfigurationError, CorpusFileError
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.corpora.sync import SourceUpdate
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.index import ContextualIndex
    from cde_retrievers.index.sources_file import SourceRecord

Yes = Annotated[bool, Option("--yes", help="Remove documents even if they are more than a quarter of the index.")]
_COUNTS = ("added", "changed", "removed", "unchanged", "embedded", "reused")


def sync(
    path: IndexPath,
    model: ModelOptions,
    output: OutputOptions,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    yes: Yes = False,
    source: Annotated[
        Path | None, Option(help="Where a source is now that was moved: the only one, or the only one that is missing.")
    ] = None,
    skip_empty: Annotated[
        bool, Option("--skip-empty", help="From now on leave out what has no text, where that was not so before.")
    ] = False,
    skip_errors: Annotated[
        bool, Option("--skip-errors", help="From now on leave out what cannot be read, where that was not so before.")
    ] = False,
) -> None:
    """Bring INDEX up to date with the sources that it was made from, read as they were then.

    New and changed documents are embedded, unless their text has a vector in the index already. Documents that a source
    no longer has are removed; those that come from none of the sources stay. If it is interrupted, the same command
    continues with the rest.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, open_index, recorded_sources
        from cde_retrievers.corpora.sync import check_removal, check_sources

        _records(path, recorded_sources(path, run), source)
        index, encoder = open_index(path, model, run, read_only=dry_run)
        with nullcontext() if dry_run else index.exclusively("following its sources"):
            leave_out = {"skip_empty": skip_empty, "skip_errors": skip_errors}
            records = _records(path, index.sources, source, [name for name, given in leave_out.items() if given])
            updates = _planned(index, encoder, records, run)
            removed = {identity for update in updates for identity in update.gone}
            data = {name: sum(getattr(update, name) for update in updates) for name in _COUNTS if name != "removed"}
            data["removed"] = len(removed)
            if not dry_run:
                if not yes:
                    check_removal(index, removed)
                    check_sources(updates)
                run.if_interrupted = lambda: (
                    "The index is whole, and what was committed stays; give the same command again, and it continues "
                    "with the rest."
                )
                if source is not None:
                    _record_move(index, records)
                with cut_texts_said(run) as seen:
                    for update in updates:
                        update.apply(index, update.gone, show_progress=run.show_progress)
                data["embedded"] = seen.texts
                data["reused"] = data["added"] + data["changed"] - data["embedded"]
        total = len(index) + (data["added"] - data["removed"] if dry_run else 0)
        counts = ", ".join(f"{data[name]:,} {name}" for name in _COUNTS)
        run.answer(
            {
                "index": str(path),
                "dry_run": dry_run,
                **{name: data[name] for name in _COUNTS},
                "kept": sum(update.kept.documents for update in updates),
                "documents": len(index),
                "sources": [
                    {
                        "path": update.now.path,
                        "changed_files": update.changed_files,
                        "left_out": update.left_out,
                        "kept": dict(update.kept.reasons),
                        "reread": sum(update.reread.values()),
                    }
                    for update in updates
                ],
                "generation": index.generation,
            },
            f"{path}: documents: {counts}; {total:,} in all" + (" (dry run: nothing was changed)" if dry_run else ""),
        )


def _records(
    index: Path, known: "Sequence[SourceRecord]", moved_to: Path | None, leave_out: Sequence[str] = ()
) -> "tuple[SourceRecord, ...]":
    """Return what the index records, with further options of reading, and a moved source under its new path."""
    from cde_retrievers.corpora.recorded_source import absolute
    from cde_retrievers.index.sources_file import with_record

    records = tuple(
        record.model_copy(update={"reading": {**record.reading, **dict.fromkeys(leave_out, True)}}) for record in known
    )
    if not records:
        raise ConfigurationError(
            f"{index} records no sources, since an earlier release made it or its documents come from a program; "
            f"record one with `cde-retrievers add {index} SOURCE --upsert` and the options it was read with"
        )
    gone = [record for record in records if not Path(record.path).exists()]
    if moved_to is None:
        if gone:
            raise CorpusFileError(
                f"{gone[0].path}, a source of {index}, does not exist; if it was moved, say where it is now with "
                f"--source, else bring it back; its documents stay until then"
            )
        return records
    missing = records if len(records) == 1 else gone
    if len(missing) != 1:
        raise ConfigurationError(
            f"--source says where the one source is that is missing, but of {len(records)} sources {len(missing)} are: "
            f"{', '.join(record.path for record in missing) or 'all are there'}; bring {moved_to} in with "
            f"`cde-retrievers add`"
        )
    if not moved_to.exists():
        raise CorpusFileError(f"{moved_to} does not exist; say with --source where {missing[0].path} is now")
    [old], path = missing, absolute(moved_to)
    there = next((record.ids for record in records if record.path == path), ())
    moved = old.model_copy(update={"path": path, "ids": tuple(dict.fromkeys((*old.ids, *there)))})
    return with_record(records, moved, [old.path])


def _record_move(index: "ContextualIndex", records: "Sequence[SourceRecord]") -> None:
    known = index.sources
    left = {record.path for record in known} - {record.path for record in records}
    for record in records:
        if record not in known:
            index.record_source(record, left)


def _planned(
    index: "ContextualIndex", encoder: "ContextualEncoder", records: "Sequence[SourceRecord]", run: Session
) -> "list[SourceUpdate]":
    """Read every source, and compare it with the index."""
    from cde_retrievers.corpora.recorded_source import corpus_of
    from cde_retrievers.corpora.sync import plan_updates

    updates = plan_updates(index, [(corpus_of(record, tokens=encoder), record) for record in records])
    for update in updates:
        files = ", ".join(f"{counted(n, 'file')} {change}" for change, n in update.files_by_change.items() if n)
        run.say(f"{update.now.path}: {counted(update.read, 'document')}, {files or 'no file changed'}")
        say_kept(update, run)
        _say_reread(update, run)
    return updates


def _say_reread(update: "SourceUpdate", run: Session) -> None:
    """Say how many documents differ although their files do not, and why that may be."""
    from cde_retrievers.corpora.recorded_source import version_changes

    if update.reread and update.before is not None:
        reasons = version_changes(update.before, update.now) or [
            "the index was changed by something else, or another model counts the tokens"
        ]
        run.warn(
            f"{update.now.path}: {sum(update.reread.values()):,} of the added, changed and removed documents are of "
            f"{len(update.reread):,} files that did not change, such as {next(iter(update.reread))}; they are read or "
            f"split differently than before: {'; '.join(reasons)}"
        )


def say_kept(update: "SourceUpdate", run: Session) -> None:
    """Say which documents stay in the index although their files were not read."""
    for name, reason in update.kept.reasons.items():
        run.say(f"kept: {counted(len(update.kept.ids[name]), 'document')} of {name or update.now.path}: {reason}")
    if update.kept.documents:
        run.warn(
            f"{update.now.path}: {update.kept.documents:,} documents stay as they are, since their files are there but "
            f"were not read; documents are removed when their file is"
        )
