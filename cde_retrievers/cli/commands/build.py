"""`fit` and `index`: a context and an index out of documents in files."""

from collections.abc import Callable, Container, Sequence
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from cde_retrievers.cli.options.common import ContextOptions, Kind, ModelOptions, OutputOptions, ReadingOptions
from cde_retrievers.cli.printing import counted
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import ConfigurationError, IndexFileError, PathInUseError

if TYPE_CHECKING:
    from cde_retrievers.corpora import CheckedCorpus, Corpus
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.index.sources_file import SourceRecord


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
        from cde_retrievers.storage.disk_errors import disk_errors_explained

        refuse_inside(out, reading.source)
        if (out / "context.json").exists() and not replace:
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
            f"{out}: context {fitted.fingerprint[:12]} of {fitted.distinct:,} of {len(documents):,} documents, for "
            f"model {fitted.model_name}",
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
        _refuse_index(out)
        given = CorpusContext.load(context) if context else None
        load = cache(partial(load_encoder, model, made_with=given.model_name if given else None))
        documents = read_once(reading, run, encoder=load)
        done = _done(out)
        if done is not None:
            run.say(f"{out}: continuing where it was interrupted, with {done:,} documents done")
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
        }
        run.answer(
            data,
            f"{out}: {len(made):,} documents under context {made.context.fingerprint[:12]} of model "
            f"{made.context.model_name}",
            f'search it with: cde-retrievers search {out} "your question"',
        )


def read_once(
    reading: ReadingOptions,
    run: Session,
    taken: Container[object] = (),
    records: "Sequence[SourceRecord]" = (),
    *,
    encoder: Callable[[], "ContextualEncoder"] | None = None,
) -> "CheckedCorpus":
    """Read the documents of the source and check them all.

    Args:
        reading: the source.
        run: where to say what was found.
        taken: ids that must not come.
        records: sources of an index; this one is read as they were.
        encoder: loads the model whose tokens are counted where documents are split.

    Raises:
        As `Corpus`, `Corpus.check` and `options_like_before`.
    """
    corpus = opened_source(reading, records, encoder=encoder)
    documents = corpus.check(taken)
    say_what_was_read(run, corpus, len(documents), documents.left_out)
    return documents


def opened_source(
    reading: ReadingOptions,
    records: "Sequence[SourceRecord]" = (),
    *,
    encoder: Callable[[], "ContextualEncoder"] | None = None,
) -> "Corpus":
    """Return the documents of the source, not read yet; arguments as in `read_once`.

    Raises:
        As `Corpus` and `options_like_before`.
    """
    from cde_retrievers.corpora import Corpus
    from cde_retrievers.corpora.recorded_source import options_like_before

    given = reading.given()
    options = options_like_before(reading.source, given, records)
    try:
        # Before a model is loaded: what is wrong with the source is soon said.
        corpus = Corpus(reading.source, options)
    except ConfigurationError as error:
        if all(each.name in given or getattr(options, each.name) == each.default for each in fields(options)):
            raise
        raise ConfigurationError(
            f"{error}; some options come from how the sources of the index were read, and --as-given goes by the "
            f"options of this command alone"
        ) from error
    if encoder is not None and options.counts_tokens:
        corpus = Corpus(reading.source, options, tokens=encoder())
    return corpus


def say_what_was_read(run: Session, corpus: "Corpus", documents: int, left_out: int) -> None:
    """Say how many documents a source has, and what of it is left out."""
    files = counted(corpus.files, "file")
    run.say(f"{corpus.path}: {counted(documents, 'document')} in {files} ({corpus.format})")
    for reason in corpus.unreadable.values():
        run.say(f"left out: {reason}")
    if corpus.unreadable:
        run.warn(f"{corpus.path}: {len(corpus.unreadable):,} of {files} cannot be read and are left out")
    if left_out:
        run.say(f"{corpus.path}: {left_out:,} documents without text are left out")


def refuse_inside(out: Path, source: Path) -> None:
    """Refuse an output inside the source, where it would be read as a document."""
    if out.resolve().is_relative_to(source.resolve()):
        raise BadParameter(f"{out} is inside the source {source}; give a directory next to it", param_hint="--out")


def _refuse_index(out: Path) -> None:
    from cde_retrievers.index.store import IndexStore

    if IndexStore(out).is_served:
        raise PathInUseError(
            f"{out} already holds an index; add documents to it with `cde-retrievers add`, embed it again with "
            f"`cde-retrievers refit`, or give another --out"
        )


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
