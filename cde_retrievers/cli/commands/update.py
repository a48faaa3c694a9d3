"""`add` and `refit`: an index that changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from cde_retrievers.cli.commands.build import read_once
from cde_retrievers.cli.options.common import ContextOptions, IndexPath, ModelOptions, OutputOptions, ReadingOptions
from cde_retrievers.cli.session import session

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
            help="With --upsert: delete every document of the index that is not in SOURCE; with --id-prefix only among "
            "those whose ids begin so, as an index of several sources needs it.",
        ),
    ] = False,
) -> None:
    """Embed the documents of SOURCE under the context of INDEX, and add them.

    Documents that are in the index and no longer in the source stay, unless --prune is given. Read the source as it was
    read for the index, with the same options.
    """
    if prune and not upsert:
        raise BadParameter("it makes the index match the source, and so needs --upsert", param_hint="--prune")
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, open_index
        from cde_retrievers.corpora import CorpusSync

        index, _ = open_index(path, model, run)
        documents = read_once(reading, run, () if upsert else index)
        before = len(index)
        run.if_interrupted = lambda: _state_of(index, before)
        changes = CorpusSync(documents, index)
        # Without --upsert the check has refused known ids, so that everything is new.
        with cut_texts_said(run, reading) as counted:
            (index.upsert if upsert else index.add)(changes, show_progress=run.show_progress)
        removed = index.delete(changes.vanished(reading.id_prefix)) if prune else []
        data = {
            "index": str(path),
            "documents": len(index),
            **changes.to_dict(),
            "removed": len(removed),
            "cut": counted.cut,
            "left_out": documents.left_out,
            "context": index.context.fingerprint,
            "generation": index.generation,
        }
        pruned = f", {len(removed):,} removed" if prune else ""
        run.answer(
            data,
            f"{path}: {changes.added:,} documents added, {changes.replaced:,} replaced, {changes.unchanged:,} "
            f"unchanged{pruned}; {len(index):,} in all",
        )


def _state_of(index: "ContextualIndex", before: int) -> str:
    return (
        f"The index is whole and has {len(index) - before:,} documents more than before; give the same command with "
        f"--upsert, and it continues with the rest."
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
    judged_split: Annotated[str, Option(metavar="NAME", help="Which of its judgements: qrels/NAME.tsv.")] = "test",
    batch_size: Annotated[
        int, Option(min=1, metavar="NUMBER", help="Documents per commit: the most that an interruption can cost.")
    ] = 2_048,
) -> None:
    """Fit a new context on all documents of INDEX, and embed them again under it.

    The old vectors serve all searches until the new ones take their place in one instant. If it is interrupted, the
    same command continues where it stopped. With --model the index changes to another model.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, load_encoder, open_index
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.corpora import judged_queries

        given = CorpusContext.load(context) if context else None
        index, encoder = open_index(path, ModelOptions(device=model.device, dtype=model.dtype), run)
        target = load_encoder(model) if model.model else encoder
        queries = judged_queries(judged, index, judged_split) if judged else None
        run.if_interrupted = lambda: _state_of_refit(path)
        terms = index.context.terms
        with cut_texts_said(run) as counted:
            report = index.refit(
                embedder=target,
                context=given,
                **choice.arguments(language=terms.language if terms else "english"),
                judged=queries,
                batch_size=batch_size,
                show_progress=run.show_progress,
            )
        run.answer({"index": str(path), **report.to_dict(), "cut": counted.cut}, str(report))


def _state_of_refit(path: Path) -> str:
    from cde_retrievers.index.store import IndexStore

    staged = IndexStore(path).staged()
    done = 0 if staged is None else staged.documents
    return (
        f"The index serves as before; {done:,} documents are embedded again and kept. Give the same command again, and "
        f"it continues from there."
    )
