"""`bulk plan`, `bulk run` and `bulk collect`: embedding on many processes and machines."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, BadParameter, Option

from cde_retrievers.cli.commands.build import refuse_inside
from cde_retrievers.cli.options.common import Kind, ModelOptions, OutputOptions, StoredAs
from cde_retrievers.cli.options.reading import ReadingOptions
from cde_retrievers.cli.reading import say_what_was_read
from cde_retrievers.cli.session import Session, session
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.bulk import Plan, RunReport
    from cde_retrievers.index import ContextualIndex

Runner = Literal["local", "ray"]
PlanPath = Annotated[Path, Argument(metavar="PLAN", help="Directory of a plan.", show_default=False)]
_ray = partial(Option, rich_help_panel="With --runner ray")


def plan(
    reading: ReadingOptions,
    out: Annotated[
        Path, Option(help="Directory of the plan to make, on a file system that all workers see.", show_default=False)
    ],
    context: Annotated[
        Path, Option(help="Context to embed under, made by `fit`.", metavar="CONTEXT", show_default=False)
    ],
    model: ModelOptions,
    output: OutputOptions,
    rows_per_shard: Annotated[
        int, Option(min=1, metavar="NUMBER", help="Documents of a shard: the most that a killed worker loses.")
    ] = 20_000,
    sparse: Annotated[bool, Option("--sparse", help="Also write sparse vectors, for search by words.")] = False,
) -> None:
    """Cut the documents of SOURCE into numbered shards, and write down how they are to be embedded.

    The documents are read and checked once and copied into the plan; nothing is embedded yet. --dtype, --backend and
    --precision are those of all workers.
    """
    with session(output) as run:
        from cde_retrievers.bulk import plan as made_plan
        from cde_retrievers.bulk.counting_corpus import CountingCorpus
        from cde_retrievers.bulk.paths import PLAN_FILE
        from cde_retrievers.cli.loading import load_encoder
        from cde_retrievers.context.context import CorpusContext
        from cde_retrievers.storage.atomic import checked_directory

        refuse_inside(out, reading.source)
        checked_directory(out, is_ours=lambda folder: (folder / PLAN_FILE).is_file())
        options = reading.options()
        corpus = CountingCorpus(reading.source, options)
        fitted = CorpusContext.load(context)
        if options.counts_tokens:
            corpus = CountingCorpus(reading.source, options, tokens=load_encoder(model, made_with=fitted.model_name))
        made = made_plan(
            corpus,
            model.model or fitted.model_name,
            fitted,
            out,
            rows_per_shard,
            sparse=sparse,
            device=model.device,
            dtype=model.dtype,
            backend=model.backend,
            precision=model.precision,
            show_progress=run.show_progress,
        )
        say_what_was_read(run, corpus, made.rows, corpus.left_out)
        data = {
            "plan": str(out),
            "documents": made.rows,
            "shards": len(made.shards),
            "rows_per_shard": made.rows_per_shard,
            "context": made.context_fingerprint,
            "model": made.model,
            "backend": made.backend,
            "precision": made.precision,
            "sparse": made.sparse,
        }
        run.answer(
            data,
            f"{out}: {counted(made.rows, 'document')} in {counted(len(made.shards), 'shard')}, to be embedded in "
            f"{made.precision} under context {made.context_fingerprint[:12]} of model {made.model}",
            f"embed them with: cde-retrievers bulk run {out} --workers 2",
        )


def run(
    path: PlanPath,
    output: OutputOptions,
    runner: Annotated[
        Runner, Option(help="Where workers run: processes of this machine, or actors of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None,
        Option(min=1, metavar="NUMBER", help="1 if left out; with Ray as many as the cluster holds, but for one CPU."),
    ] = None,
    shard: Annotated[
        list[int] | None, Option(min=0, metavar="NUMBER", help="Embed this shard only; may be given several times.")
    ] = None,
    attempts: Annotated[int, Option(min=1, metavar="NUMBER", help="At one shard, before it counts as failed.")] = 3,
    device: Annotated[
        list[str] | None,
        Option(
            metavar="DEVICE", help="Of local workers, in turn: --device cuda:0 --device cuda:1 ('auto' if left out)."
        ),
    ] = None,
    address: Annotated[
        str | None,
        _ray(
            metavar="ADDRESS",
            help="Of a running cluster, or 'auto' for that of this machine. If left out, one is started and ended.",
        ),
    ] = None,
    cpus: Annotated[float | None, _ray(min=0, metavar="NUMBER", help="For a worker (1 if left out).")] = None,
    gpus: Annotated[
        float | None, _ray(min=0, metavar="NUMBER", help="For a worker; less than 1 shares one (none if left out).")
    ] = None,
) -> None:
    """Embed the shards of PLAN that are not there yet.

    Any number of these may run at once, on any machines that see the plan. Whatever is interrupted or killed, the same
    command continues with what is missing; in the end each document is there once.
    """
    of_ray = {"--address": address, "--cpus": cpus, "--gpus": gpus}
    if runner == "local" and (given := [name for name, value in of_ray.items() if value is not None]):
        raise BadParameter("it is about a Ray cluster, and so needs --runner ray", param_hint=given[0])
    if runner == "ray" and device:
        raise BadParameter("Ray places workers itself; give --gpus instead", param_hint="--device")
    with session(output) as current:
        from cde_retrievers.bulk import Plan, run_local, run_ray

        known = Plan.load(path)
        current.if_interrupted = lambda: _state_of(known)
        common: dict[str, Any] = {"shards": shard, "attempts": attempts, "show_progress": current.show_progress}
        if runner == "local":
            report = run_local(known, workers or 1, devices=device or ["auto"], **common)
        else:
            report = run_ray(
                known, workers, address=address, num_cpus=1 if cpus is None else cpus, num_gpus=gpus or 0, **common
            )
        _answer_run(current, path, report)


def _answer_run(current: Session, path: Path, report: "RunReport") -> None:
    done = report.embedded + report.were_there
    data = {
        "plan": str(path),
        "shards": report.shards,
        "embedded": report.embedded,
        "were_there": report.were_there,
        "documents": report.rows,
        "cut": report.cut,
        "lost_workers": report.lost_workers,
        "failed": {str(number): reason for number, reason in report.failed.items()},
    }
    lines = [f"{path}: {done:,} of {report.shards:,} shards are there, {report.embedded:,} embedded by this command"]
    if report.lost_workers:
        lines.append(f"died and replaced: {counted(report.lost_workers, 'worker')}")
    current.answer(data, *lines)
    report.raise_if_failed()


def collect(
    path: PlanPath,
    output: OutputOptions,
    into: Annotated[
        Path | None, Option(metavar="INDEX", help="Index to add the documents to, or to make.", show_default=False)
    ] = None,
    parquet: Annotated[
        Path | None, Option(metavar="FOLDER", help="Folder of its own for Parquet files.", show_default=False)
    ] = None,
    kind: Annotated[
        Kind | None,
        Option(
            help="Of a new index: exact (flat, the default), or from 10,000 documents on approximate (hnsw, ivf).",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        StoredAs | None,
        Option(
            help="Of a new index: store the numbers of vectors whole (float32, the default), in 8 bits (int8) or as "
            "signs (binary).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check the shards of PLAN, and put their documents into an index or a folder of Parquet files.

    If it is interrupted, the same command continues; each document is there once.
    """
    if (into is None) == (parquet is None):
        raise BadParameter("give one of --into and --parquet", param_hint="--into")
    if parquet is not None and (kind or vectors):
        raise BadParameter("it belongs to an index; leave it out", param_hint="--kind" if kind else "--vectors")
    with session(output) as current:
        from cde_retrievers.bulk import Plan
        from cde_retrievers.bulk import collect as collected
        from cde_retrievers.bulk.collection import refuse_missing

        known = Plan.load(path)
        refuse_missing(known)  # before an index is made
        target: ContextualIndex | Path = _index(into, known, kind, vectors) if into is not None else Path(str(parquet))
        current.if_interrupted = lambda: "What was collected is kept; give the same command again, and it continues."
        report = collected(known, target, show_progress=current.show_progress)
        where = into or parquet
        data = {"plan": str(path), "into": str(where), "documents": report.rows, "added": report.added}
        current.answer(data, f"{where}: {counted(report.rows, 'document')}, {report.added:,} added by this command")


def _index(path: Path, known: "Plan", kind: Kind | None, vectors: StoredAs | None) -> "ContextualIndex":
    """Open the index, or create it under the plan's context.

    Raises:
        BadParameter: the index is there, and of another kind, or stores vectors in another form.
    """
    from cde_retrievers.bulk.paths import CONTEXT
    from cde_retrievers.context.context import CorpusContext
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.index import ContextualIndex
    from cde_retrievers.index.inspection import holds_index

    # On the CPU, since nothing is embedded: a GPU here may not compute as the plan says.
    encoder = ContextualEncoder.from_pretrained(known.model_path, "cpu", **known.arithmetic())
    if not holds_index(path):
        context = CorpusContext.load(known.directory / CONTEXT)
        return ContextualIndex.create(encoder, context, path, kind=kind or "flat", dtype=vectors or "float32")
    index = ContextualIndex.open(path, encoder)
    for option, asked, found in (("--kind", kind, index.kind), ("--vectors", vectors, index.dtype)):
        if asked not in (None, found):
            raise BadParameter(
                f"the index in {path} has {found!r}, not {asked!r}; leave the option out, or give another --into",
                param_hint=option,
            )
    return index


def _state_of(known: "Plan") -> str:
    from cde_retrievers.bulk.collection import missing_shards

    total = len(known.shards)
    done = total - len(missing_shards(known))
    return f"{done:,} of {total:,} shards are there and kept; give the same command again, and it continues."
