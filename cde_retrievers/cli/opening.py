"""Indexes and contexts that are there already, opened for a command."""

from pathlib import Path
from typing import TYPE_CHECKING

from cde_retrievers.cli.models import CountingEncoder, load_encoder
from cde_retrievers.errors import CheckpointError, IndexFileError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.reader import require_loadable
from cde_retrievers.index.store import IndexStore

if TYPE_CHECKING:
    from cde_retrievers.cli.options import ModelOptions
    from cde_retrievers.cli.session import Session

WAYS_OUT = {
    IndexFileError: "`cde-retrievers index` makes an index, and goes on with one that is not finished",
    CheckpointError: "if the model was moved, say where it is with --model",
}


def open_index(
    path: Path, options: "ModelOptions", run: "Session", *, read_only: bool = False
) -> tuple[ContextualIndex, CountingEncoder]:
    """The index with its model on the device that was asked for.

    Raises:
        As `ContextualIndex.open` and `ContextualEncoder.from_pretrained`.
    """
    run.way_out = WAYS_OUT
    # The manifest alone names the model; every file is looked at once, by `open`.
    manifest = IndexStore(path).served()
    try:
        encoder = load_encoder(options, made_with=manifest.model_name)
    except CheckpointError:
        require_loadable(IndexStore(path).context(manifest))
        raise
    return ContextualIndex.open(path, encoder, read_only=read_only), encoder


def holds_context(path: Path) -> bool:
    """Whether a directory is that of a saved context."""
    return (path / "context.json").is_file()
