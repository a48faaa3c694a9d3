"""The commands, gathered. Nothing here or above imports torch: `--help` must answer at once."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from cde_retrievers.util.imports import require

for _package in ("typer", "rich"):
    require(_package, "the command line", extra="cli")

from typing import Annotated

import typer

import cde_retrievers
from cde_retrievers.cli.commands import bulk
from cde_retrievers.cli.commands.build import fit, index
from cde_retrievers.cli.commands.evaluate import eval, report
from cde_retrievers.cli.commands.inspect import check, drift, info
from cde_retrievers.cli.commands.search import search
from cde_retrievers.cli.commands.serve import serve
from cde_retrievers.cli.commands.sync import sync
from cde_retrievers.cli.commands.train import train
from cde_retrievers.cli.commands.update import add, refit
from cde_retrievers.cli.options.groups import Command, with_groups
from cde_retrievers.cli.printing import PrintableErrors

_EXAMPLES: dict[Command, str] = {
    fit: "cde-retrievers fit docs/ --out docs_context",
    index: "cde-retrievers index docs/ --out docs_index --split headings",
    search: "cde-retrievers search docs_index 'how do I undo a commit?' -k 3",
    add: "cde-retrievers add docs_index more_docs/",
    sync: "cde-retrievers sync docs_index",
    check: "cde-retrievers check docs_index --context docs_context",
    drift: "cde-retrievers drift docs_index new_docs/",
    refit: "cde-retrievers refit docs_index",
    info: "cde-retrievers info docs_index",
    eval: "cde-retrievers eval docs/ --split headings --bm25",
    report: "cde-retrievers report docs/ --split headings --out report.html",
    serve: "cde-retrievers serve --contexts contexts/ --model minilm",
    train: "cde-retrievers train docs/ --from-documents --split headings --out docs_model",
}

_BULK_EXAMPLES: dict[Command, str] = {
    bulk.plan: "cde-retrievers bulk plan docs/ --context docs_context --out docs_plan",
    bulk.run: "cde-retrievers bulk run docs_plan --workers 2",
    bulk.collect: "cde-retrievers bulk collect docs_plan --into docs_index",
}
_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    cls=PrintableErrors,
    help="Search your own documents with embeddings that know your corpus.\n\n"
    "Begin with `index` and `search`: the first reads documents from files, fits a context on them and embeds them "
    "under it; the second finds them. `sync` follows changes of the files, `add` brings in more, `drift` says whether "
    "the context still fits what comes in, and `refit` renews it. `fit`, `check` and `info` are for contexts that are "
    "shared, and for a look at what there is. `eval` and `report` say what context does for your documents. `train` "
    "makes a model of your own. `bulk` embeds on many processes and machines. `serve` answers other programs over "
    "HTTP, as OpenAI's API does.",
    epilog="Exit codes: 0 all is well, 1 an error, 2 the command was not understood, 3 the answer is one to act on "
    "(`check`: another context; `drift`: refit), 130 interrupted, 141 the reader of the output has closed it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=_SETTINGS,
)
bulk_app = typer.Typer(
    cls=PrintableErrors,
    help="Embed on many processes and machines: `plan` cuts the documents into shards, `run` embeds them, any number "
    "of times and anywhere, `collect` puts them into an index.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings=_SETTINGS,
)
app.add_typer(bulk_app, name="bulk")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cde-retrievers {cde_retrievers.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _register(group: typer.Typer, command: Command, example: str) -> None:
    group.command(epilog=f"Example: `{example}`", no_args_is_help=True)(with_groups(command))


for _group, _examples in ((app, _EXAMPLES), (bulk_app, _BULK_EXAMPLES)):
    for _command, _example in _examples.items():
        _register(_group, _command, _example)
