"""Load the models and indexes that are named on the command line; torch is imported only where a model is."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cde_retrievers.encoder.cut_texts import CutTexts, counted_cut_texts
from cde_retrievers.errors import CheckpointError, IndexFileError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.contexts import read_context
from cde_retrievers.index.embedder import require_loadable
from cde_retrievers.index.sources_file import SourceRecord, read_sources
from cde_retrievers.index.store import IndexStore
from cde_retrievers.storage.atomic import recovered

if TYPE_CHECKING:
    from cde_retrievers.cli.options.common import ModelOptions
    from cde_retrievers.cli.options.reading import ReadingOptions
    from cde_retrievers.cli.session import Session
    from cde_retrievers.encoder.encoder import ContextualEncoder


_DEFAULT = "minilm"


def load_encoder(options: "ModelOptions", made_with: str | None = None) -> "ContextualEncoder":
    """Load the model that the options name, or else the one that a context was made with.

    Raises:
        As `ContextualEncoder.from_pretrained`.
    """
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.model.pretrained import BUILT_IN

    name = options.model or made_with or _DEFAULT
    if name not in BUILT_IN and Path(name).is_dir():
        # The name is kept in contexts and indexes, which are used from other directories too.
        name = str(Path(name).resolve())
    return ContextualEncoder.from_pretrained(
        name, options.device, options.dtype, backend=options.backend, precision=options.precision
    )


@contextmanager
def cut_texts_said(run: "Session", reading: "ReadingOptions | None" = None) -> Iterator[CutTexts]:
    """Count the texts that are embedded in the block, and say at its end how many were cut.

    Args:
        run: where to say it.
        reading: how the texts were read, and so how they could be shorter; None if that was done earlier.
    """
    with counted_cut_texts() as counted:
        try:
            yield counted
        finally:
            if counted.cut:
                run.warn(
                    f"{counted.cut:,} of {counted.texts:,} texts are longer than the {counted.max_length} tokens that "
                    f"the model reads; what comes after those cannot be found. {_remedy(reading)}"
                )


def _remedy(reading: "ReadingOptions | None") -> str:
    if reading is None:
        return "Index the documents again in smaller parts, or use a model that reads longer texts."
    if reading.split in (None, "none"):
        return "Split long texts with --split headings or --split paragraphs."
    return "Leave --max-words out: parts are then as long as the model reads. Or use a --model that reads longer texts."


def say_cut_texts(
    encoder: "ContextualEncoder", texts: Iterable[str], run: "Session", reading: "ReadingOptions"
) -> None:
    """Say how many documents are longer than the model reads, before they are embedded several times."""
    with cut_texts_said(run, reading):
        encoder.tokenizer.encode([encoder.config.document_prompt + text for text in texts])


WAYS_OUT = {
    IndexFileError: "`cde-retrievers index` makes an index, and continues one that is not finished",
    CheckpointError: "if the model was moved, say where it is with --model",
}


def open_index(
    path: Path, options: "ModelOptions", run: "Session", *, read_only: bool = False
) -> tuple[ContextualIndex, "ContextualEncoder"]:
    """Open the index, with its model on the device that the options name.

    Raises:
        As `ContextualIndex.open` and `ContextualEncoder.from_pretrained`.
    """
    run.way_out = WAYS_OUT
    # The manifest alone names the model; every file is looked at once, by `open`.
    manifest = IndexStore(recovered(path)).served()
    try:
        encoder = load_encoder(options, made_with=manifest.model_name)
    except CheckpointError:
        require_loadable(read_context(path, manifest))
        raise
    return ContextualIndex.open(path, encoder, read_only=read_only), encoder


def recorded_sources(path: Path, run: "Session") -> tuple[SourceRecord, ...]:
    """Return what an index records of its sources, before a model is loaded to open it.

    Raises:
        IndexFileError: there is no index, or its record is damaged.
    """
    run.way_out = WAYS_OUT
    return read_sources(path, IndexStore(recovered(path)).served())


def holds_context(path: Path) -> bool:
    """Return whether a directory is that of a saved context."""
    return (recovered(path) / "context.json").is_file()
