"""`add` and `refit`: an index that changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from cde_retrievers.cli.commands.sync import Yes, say_kept
from cde_retrievers.cli.options.common import ContextOptions, IndexPath, ModelOptions, OutputOptions
from cde_retrievers.cli.options.reading import AsGiven, ReadingOptions
from cde_retrievers.cli.reading import opened_source, say_what_was_read
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import DuplicateIdError
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.index import ContextualIndex


def add(
    path: IndexPath,
    reading: ReadingOptions,
    model: ModelOptions,
    output: OutputOptions,
    upsert: Annotated[
        bool,
        Option(
            "--upsert",
            help="Replace documents whose id is in the index already; unchanged ones are not embedded again.",
        ),
    ] = False,
    prune: Annotated[
        bool,
        Option(
            "--prune",
            help="With --upsert: delete every document of the index that is not in SOURCE, which becomes its only "
            "source; with --id-prefix only among those whose ids begin so, as an index of several sources needs it.",
        ),
    ] = False,
    as_given: AsGiven = False,
    yes: Yes = False,
) -> None:
    """Embed the documents of SOURCE under the context of INDEX, and add them.

    The source is read as it was read before, or a new one as the other sources of the index were, and recorded for
    `sync`. Documents that are in the index and no longer in the source stay, unless --prune is given.
    """
    if prune and not upsert:
        raise BadParameter("it makes the index match the source, and so needs --upsert", param_hint="--prune")
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, open_index, recorded_sources
        from cde_retrievers.corpora.recorded_source import absolute
        from cde_retrievers.corpora.sync import check_removal, plan_update

        opened_source(reading, None, recorded_sources(path, run), as_given=as_given)
        index, encoder = open_index(path, model, run)
        with index.exclusively("adding a source"):
            records = index.sources
            corpus = opened_source(reading, run, records, as_given=as_given, encoder=lambda: encoder)
            own = next((record for record in records if record.path == absolute(reading.source)), None)
            if own is not None and not upsert:
                known = f"the index has this source already, and `cde-retrievers sync {path}` follows its changes"
                run.way_out = {**run.way_out, DuplicateIdError: known}
            update = plan_update(index, corpus, own, taken=() if upsert else index)
            say_what_was_read(run, corpus, update.read, update.left_out)
            say_kept(update, run)
            removed = _not_in(update.now.ids, index, corpus.reading.id_prefix) if prune else []
            if not yes:
                check_removal(index, removed)
            before = len(index)
            run.if_interrupted = lambda: _state_of(index, before)
            with cut_texts_said(run, reading) as seen:
                update.apply(
                    index,
                    removed,
                    instead_of=[record.path for record in records] if prune and not corpus.reading.id_prefix else (),
                    show_progress=run.show_progress,
                )
        data = {
            "index": str(path),
            "documents": len(index),
            "added": update.added,
            "replaced": update.changed,
            "unchanged": update.unchanged,
            "removed": len(removed),
            "embedded": seen.texts,
            "reused": update.added + update.changed - seen.texts,
            "cut": seen.cut,
            "left_out": update.left_out,
            "context": index.context.fingerprint,
            "generation": index.generation,
        }
        pruned = f", {len(removed):,} removed" if prune else ""
        run.answer(
            data,
            f"{path}: {counted(update.added, 'document')} added, {update.changed:,} replaced, {update.unchanged:,} "
            f"unchanged{pruned}; {len(index):,} in all",
        )


def _not_in(ids: "Sequence[str]", index: "ContextualIndex", prefix: str) -> list[str]:
    kept = frozenset(ids)
    return [identity for identity in index.ids() if identity.startswith(prefix) and identity not in kept]


def _state_of(index: "ContextualIndex", before: int) -> str:
    return (
        f"The index is whole and has {counted(len(index) - before, 'document')} more than before; give the same "
        f"command with --upsert, and it continues with the rest."
    )


def refit(
    path: IndexPath,
    model: ModelOptions,
    choice: ContextOptions,
    output: OutputOptions,
    context: Annotated[Path | None, Option(help="Context to use, made by `fit`, in place of fitting one.")] = None,
    judged: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="BEIR folder with queries and judgements, to search with before and after."),
    ] = None,
    judged_split: Annotated[
        str | None, Option(metavar="NAME", help="Which of its judgements: qrels/NAME.tsv ('test' if left out).")
    ] = None,
    batch_size: Annotated[
        int, Option(min=1, metavar="NUMBER", help="Documents per commit: the most that an interruption can cost.")
    ] = 2_048,
) -> None:
    """Fit a new context on all documents of INDEX, and embed them again under it.

    The old vectors serve all searches until the new ones take their place in one instant. If it is interrupted, the
    same command continues where it stopped. With --model the index changes to another model.
    """
    if judged is None and judged_split is not None:
        raise BadParameter("it names judgements of a folder, and so needs --judged", param_hint="--judged-split")
    with session(output) as run:
        from cde_retrievers.cli.judgements import check_judgements
        from cde_retrievers.cli.loading import cut_texts_said, load_encoder, open_index, recorded_sources
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.corpora import judged_queries

        recorded_sources(path, run)
        choice.check(context)
        split = judged_split or "test"
        if judged is not None:
            check_judgements(judged, split)
        given = CorpusContext.load(context) if context else None
        # With another model, backend and precision are that one's: the index may have been made in others.
        now = ModelOptions(device=model.device, dtype=model.dtype) if model.model else model
        index, encoder = open_index(path, now, run)
        target = load_encoder(model) if model.model else encoder
        queries = judged_queries(judged, index, split) if judged else None
        _warn_of_changed_sources(index, run)
        run.if_interrupted = lambda: _state_of_refit(path)
        terms = index.context.terms
        with cut_texts_said(run) as seen:
            report = index.refit(
                embedder=target,
                context=given,
                **choice.arguments(language=terms.language if terms and given is None else "english"),
                judged=queries,
                batch_size=batch_size,
                show_progress=run.show_progress,
            )
        run.answer({"index": str(path), **report.to_dict(), "cut": seen.cut}, str(report))


def _warn_of_changed_sources(index: "ContextualIndex", run: Session) -> None:
    """Warn if a refit would embed documents whose files have changed since they were read."""
    from cde_retrievers.corpora.recorded_source import changed_files

    for record in index.sources:
        changed = changed_files(record)
        if changed:
            run.warn(
                f"{record.path}: {counted(len(changed), 'file')} changed since the source was read, such as "
                f"{changed[0]}; `cde-retrievers sync {index.path}` brings the index up to date, best before a refit"
            )


def _state_of_refit(path: Path) -> str:
    from cde_retrievers.index.store import IndexStore

    staged = IndexStore(path).staged()
    done = 0 if staged is None else staged.documents
    return (
        f"The index serves as before; {done:,} documents are embedded again and kept. Give the same command again, and "
        f"it continues from there."
    )
