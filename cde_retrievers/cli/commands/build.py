"""`fit` and `index`: a context and an index out of documents in files."""

from functools import cache, partial
from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from cde_retrievers.cli.options.common import ContextOptions, Kind, ModelOptions, OutputOptions, StoredAs
from cde_retrievers.cli.options.reading import ReadingOptions
from cde_retrievers.cli.reading import read_once
from cde_retrievers.cli.session import session
from cde_retrievers.errors import IndexFileError, PathInUseError
from cde_retrievers.util.counted import counted


def fit(
    reading: ReadingOptions,
    out: Annotated[Path, Option(help="Directory to write the context into.", show_default=False)],
    model: ModelOptions,
    context: ContextOptions,
    output: OutputOptions,
    replace: Annotated[bool, Option("--replace", help="Replace a context that is there already.")] = False,
) -> None:
    """Fit a context on the documents of SOURCE.

    An index fits its own. Fit one apart to share it between several, or with a vector store of another library.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, load_encoder
        from cde_retrievers.context.persistence import check_target
        from cde_retrievers.storage.atomic import recovered
        from cde_retrievers.storage.disk_errors import disk_errors_explained

        refuse_inside(out, reading.source)
        context.check()
        check_target(out)
        if (recovered(out) / "context.json").exists() and not replace:
            raise PathInUseError(f"{out} already holds a context; give another --out, or --replace it")
        load = cache(partial(load_encoder, model))
        documents = read_once(reading, run, encoder=load)
        encoder = load()
        with cut_texts_said(run, reading):
            fitted = encoder.fit_context(documents.texts(), **context.arguments(), show_progress=run.show_progress)
        with disk_errors_explained(out, "no context was written"):
            fitted.save(out)
        data = {
            "context": str(out),
            "fingerprint": fitted.fingerprint,
            "model": fitted.model_name,
            "documents": len(documents),
            "context_documents": fitted.distinct,
            "strategy": fitted.strategy,
            "seed": fitted.seed,
        }
        run.answer(
            data,
            f"{out}: context {fitted.fingerprint[:12]} of {fitted.distinct:,} of "
            f"{counted(len(documents), 'document')}, for model {fitted.model_name}",
        )


def index(
    reading: ReadingOptions,
    out: Annotated[Path, Option(help="Directory of the index to make.", show_default=False)],
    model: ModelOptions,
    choice: ContextOptions,
    output: OutputOptions,
    context: Annotated[
        Path | None, Option(help="Context to use, made by `fit`, in place of fitting one on the documents.")
    ] = None,
    kind: Annotated[
        Kind, Option(help="Exact search (flat), or from 10,000 documents on approximate (hnsw, ivf).")
    ] = "flat",
    vectors: Annotated[
        StoredAs, Option(help="Store the numbers of vectors whole, in 8 bits (int8) or as signs (binary).")
    ] = "float32",
    batch_size: Annotated[
        int, Option(min=1, metavar="NUMBER", help="Documents per commit: the most that an interruption can cost.")
    ] = 2_048,
) -> None:
    """Make an index of the documents of SOURCE: fit a context on them, and embed them under it.

    Everything is read once before the first document is embedded, so that every fault is reported at once. If it is
    interrupted, the same command continues where it stopped.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import cut_texts_said, load_encoder
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.corpora.recorded_source import recorded_source
        from cde_retrievers.index import ContextualIndex

        refuse_inside(out, reading.source)
        choice.check(context)
        _check_place(out)
        given = CorpusContext.load(context) if context else None
        load = cache(partial(load_encoder, model, made_with=given.model_name if given else None))
        documents = read_once(reading, run, encoder=load)
        done = _done(out)
        if done is not None:
            run.say(f"{out}: continuing where it was interrupted, with {counted(done, 'document')} done")
        encoder = load()
        run.if_interrupted = lambda: _state_of(out)
        with cut_texts_said(run, reading) as seen:
            made = ContextualIndex.build(
                documents,
                encoder,
                out,
                context=given,
                **choice.arguments(),
                kind=kind,
                dtype=vectors,
                batch_size=batch_size,
                show_progress=run.show_progress,
                source=recorded_source(documents.corpus, documents.read),
            )
        data = {
            "index": str(out),
            "documents": len(made),
            "embedded": seen.texts,
            "cut": seen.cut,
            "left_out": documents.left_out,
            "context": made.context.fingerprint,
            "model": made.context.model_name,
            "kind": made.kind,
            "dtype": made.dtype,
        }
        run.answer(
            data,
            f"{out}: {counted(len(made), 'document')} under context {made.context.fingerprint[:12]} of model "
            f"{made.context.model_name}",
            f'search it with: cde-retrievers search {out} "your question"',
        )


def refuse_inside(out: Path, source: Path) -> None:
    """Refuse an output inside the source, where it would be read as a document."""
    if out.resolve().is_relative_to(source.resolve()):
        raise BadParameter(f"{out} is inside the source {source}; give a directory next to it", param_hint="--out")


def _check_place(out: Path) -> None:
    """Raise if no index can be made there."""
    from cde_retrievers.index.create import checked_place
    from cde_retrievers.index.inspection import holds_index

    if holds_index(out):
        raise PathInUseError(
            f"{out} already holds an index; bring it up to date with its sources with `cde-retrievers sync {out}`, add "
            f"others with `cde-retrievers add`, embed it again with `cde-retrievers refit`, or give another --out"
        )
    checked_place(out)


def _done(out: Path) -> int | None:
    """Return how many documents an interrupted call has embedded; None without one, or with damaged notes."""
    from cde_retrievers.index.store import IndexStore

    try:
        staged = IndexStore(out).staged()
    except IndexFileError:  # the build sets it aside, or says why not
        return None
    return None if staged is None else staged.documents


def _state_of(out: Path) -> str:
    done = _done(out)
    if done is None:
        return "No document was embedded yet; give the same command again."
    return f"{done:,} documents are done and kept in {out}; give the same command again, and it continues from there."
