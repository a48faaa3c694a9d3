"""`check`, `drift` and `info`: questions to an index that change nothing."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from typer import Argument, Option

from cde_retrievers.cli.options.common import IndexPath, ModelOptions, OutputOptions
from cde_retrievers.cli.options.reading import AsGiven, ReadingOptions
from cde_retrievers.cli.reading import opened_source, read_once
from cde_retrievers.cli.session import ANOTHER, ERROR, session
from cde_retrievers.errors import IndexFileError
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.context.context import CorpusContext


IndexOrContext = Annotated[
    Path, Argument(metavar="INDEX_OR_CONTEXT", help="Directory of an index or of a context.", show_default=False)
]


def check(
    path: IndexPath,
    output: OutputOptions,
    context: Annotated[
        Path | None, Option(help="Context that queries are embedded under, to compare with the index's.")
    ] = None,
) -> None:
    """Check that every file of INDEX is as it was written, and whether it was made under a context.

    Exit code 1 if a file is damaged or the index does not exist, 3 if it was made under another context.
    """
    with session(output) as run:
        from cde_retrievers.binding.check import ContextCheck
        from cde_retrievers.cli.loading import WAYS_OUT
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.index import ContextualIndex

        run.way_out = WAYS_OUT
        yours = CorpusContext.load(context) if context else None
        try:
            index = ContextualIndex.open(path, read_only=True)
            if index.damaged:
                raise IndexFileError(
                    f"{'; '.join(index.damaged)}. The documents are not affected, and searches are exact without an "
                    f"accelerator, which the next change, or ContextualIndex.optimize(), rebuilds"
                )
        except IndexFileError as error:
            run.fail(error)
            run.answer({"index": str(path), "intact": False, "problem": str(error)})
            raise typer.Exit(ERROR) from error
        found = yours and ContextCheck(theirs=index.context.fingerprint, yours=yours.fingerprint)
        data = {
            "index": str(path),
            "intact": True,
            "documents": len(index),
            "generation": index.generation,
            "context": index.context.fingerprint,
            "yours": yours and yours.fingerprint,
            "verdict": found and found.verdict,
        }
        run.answer(
            data,
            f"{path}: intact, {counted(len(index), 'document')} under context {index.context.fingerprint}",
            *([str(found)] if found else []),
        )
        if found and found.verdict != "same context":
            raise typer.Exit(ANOTHER)


def drift(
    path: IndexOrContext,
    reading: ReadingOptions,
    model: ModelOptions,
    output: OutputOptions,
    sample: Annotated[
        int, Option(min=16, metavar="NUMBER", help="Documents of either side that are compared at most.")
    ] = 512,
    seed: Annotated[int, Option(min=0, metavar="NUMBER", help="The same one compares the same documents.")] = 0,
    as_given: AsGiven = False,
) -> None:
    """Measure how far the documents of SOURCE lie from those that the context was fitted on.

    The source is read as those of the index were, since whole texts are unlike their parts. For a context, give the
    options that the documents of its fitting were read with.

    Documents that the context was fitted on are not new, and left out. Exit code 3 if the answer is to refit, 0 if it
    is "as expected", "drifting", "nothing new" or "too few".
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import holds_context, load_encoder, open_index, recorded_sources
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.drift import measure
        from cde_retrievers.errors import ConfigurationError

        if holds_context(path):
            if as_given:
                raise ConfigurationError(
                    "--as-given is for an index, which records how its documents are read; leave it out for a context"
                )
            context = CorpusContext.load(path)
            load = cache(partial(load_encoder, model, context.model_name))
            documents = read_once(reading, run, encoder=load)
            report = measure(
                context, documents.texts(), load(), sample=sample, seed=seed, show_progress=run.show_progress
            )
        else:
            opened_source(reading, None, recorded_sources(path, run), as_given=as_given)
            index, encoder = open_index(path, model, run, read_only=True)
            documents = read_once(reading, run, index.sources, as_given=as_given, encoder=lambda: encoder)
            report = measure(index, documents.texts(), sample=sample, seed=seed, show_progress=run.show_progress)
        run.answer(report.to_dict(), str(report))
        if report.verdict == "refit":
            raise typer.Exit(ANOTHER)


def info(path: IndexOrContext, output: OutputOptions) -> None:
    """Show what an index or a context holds, and what it was made with."""
    with session(output) as run:
        from cde_retrievers.cli.loading import WAYS_OUT, holds_context
        from cde_retrievers.context.context import CorpusContext

        run.way_out = WAYS_OUT
        if holds_context(path):
            data = {"path": str(path), "what": "context", **_about_context(CorpusContext.load(path))}
            way_out = "fit it again with `cde-retrievers fit`"
        else:
            data = {"path": str(path), "what": "index", **_about_index(path)}
            way_out = f"`cde-retrievers refit {path}` adds them"
        run.answer(data, _table(data))
        if data["terms"] is None or data.get("mode") == "dense":
            run.say(f"{path} holds no words, so that only vectors can be searched; {way_out}")


def _about_context(context: "CorpusContext") -> dict[str, Any]:
    return {
        "context": context.fingerprint,
        "context_documents": context.distinct,
        "of_corpus": context.corpus_size,
        "strategy": context.strategy,
        "seed": context.seed,
        **_about_terms(context),
        "model": context.model_name,
        "model_fingerprint": context.model_fingerprint,
    }


def _about_terms(context: "CorpusContext") -> dict[str, Any]:
    """The term statistics; all None if there are none. The language is "none" for words as they are."""
    terms = context.terms
    if terms is None:
        return {"language": None, "terms": None, "mean_length": None}
    return {"language": terms.language or "none", "terms": len(terms), "mean_length": terms.mean_length}


def _about_index(path: Path) -> dict[str, Any]:
    from cde_retrievers.index import ContextualIndex
    from cde_retrievers.index.store import IndexStore

    index = ContextualIndex.open(path, read_only=True)
    store = IndexStore(path)
    manifest, staged = store.served(), store.staged()
    size = sum(file.bytes for segment in manifest.segments for file in segment.files)
    return {
        "documents": len(index),
        "generation": index.generation,
        "kind": index.kind,
        "mode": index.mode,
        "width": manifest.width,
        "dimensions": index.dimensions,
        "dtype": index.dtype,
        "bytes_per_vector": manifest.vector_format.bytes_per_vector,
        "segments": len(manifest.segments),
        "bytes": size + (manifest.accelerator.file.bytes if manifest.accelerator else 0),
        "metadata_fields": sorted(index.fields),
        "sources": [record.path for record in index.sources],
        "read_with": [{name: value for name, value in record.reading.items() if value} for record in index.sources],
        "refit_interrupted_at": staged and staged.documents,
        **_about_context(index.context),
    }


def _table(data: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in data.items():
        if value is not None:
            table.add_row(name.replace("_", " "), _shown(value))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', '-')} {_shown(each)}" for name, each in value.items()) or "no options"
    if isinstance(value, list):
        return ("; " if value and isinstance(value[0], Mapping) else ", ").join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)
