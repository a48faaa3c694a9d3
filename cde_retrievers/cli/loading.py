"""Load the models and indexes that are named on the command line."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CheckpointError, IndexFileError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index.contexts import read_context
from cde_retrievers.index.embedder import require_loadable
from cde_retrievers.index.store import IndexStore
from cde_retrievers.model.pretrained import BUILT_IN
from cde_retrievers.validation.vectors import Embeddings

if TYPE_CHECKING:
    from cde_retrievers.cli.options.common import ModelOptions
    from cde_retrievers.cli.session import Session


_DEFAULT = "minilm"


class CountingEncoder(ContextualEncoder):
    """An encoder that counts documents longer than the model reads.

    Attributes:
        documents: embedded so far.
        cut: of these, documents whose end the model did not read.
    """

    documents = 0
    cut = 0

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """As `ContextualEncoder.encode_documents`."""
        with _counted() as counter:
            vectors = super().encode_documents(texts, context, show_progress)
        self.documents += len(vectors)
        self.cut += counter.cut
        return vectors

    def warn_of_cut(self, session: "Session") -> None:
        """Warn of documents whose end cannot be found."""
        if self.cut:
            session.warn(
                f"{self.cut:,} of {self.documents:,} documents are longer than the {self.config.max_length} tokens "
                f"that the model reads, so the text after those cannot be found; split them with --split"
            )


def load_encoder(options: "ModelOptions", made_with: str | None = None) -> CountingEncoder:
    """Load the model that the options name, or else the one that a context was made with.

    Raises:
        As `ContextualEncoder.from_pretrained`.
    """
    name = options.model or made_with or _DEFAULT
    if name not in BUILT_IN and Path(name).is_dir():
        # The name is kept in contexts and indexes, which are used from other directories too.
        name = str(Path(name).resolve())
    return CountingEncoder.from_pretrained(name, options.device, options.dtype)


class _CutTexts(logging.Handler):
    """Counts the texts that the tokenizer logs as cut."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.cut = 0

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and "were cut" in record.msg:
            self.cut += int(str(record.args[0]))


@contextmanager
def _counted() -> Iterator[_CutTexts]:
    counter, tokenizer = _CutTexts(), logging.getLogger("cde_retrievers.encoder.tokenizer")
    tokenizer.addHandler(counter)
    try:
        yield counter
    finally:
        tokenizer.removeHandler(counter)


WAYS_OUT = {
    IndexFileError: "`cde-retrievers index` makes an index, and continues one that is not finished",
    CheckpointError: "if the model was moved, say where it is with --model",
}


def open_index(
    path: Path, options: "ModelOptions", run: "Session", *, read_only: bool = False
) -> tuple[ContextualIndex, CountingEncoder]:
    """Open the index, with its model on the device that the options name.

    Raises:
        As `ContextualIndex.open` and `ContextualEncoder.from_pretrained`.
    """
    run.way_out = WAYS_OUT
    # The manifest alone names the model; every file is looked at once, by `open`.
    manifest = IndexStore(path).served()
    try:
        encoder = load_encoder(options, made_with=manifest.model_name)
    except CheckpointError:
        require_loadable(read_context(path, manifest))
        raise
    return ContextualIndex.open(path, encoder, read_only=read_only), encoder


def holds_context(path: Path) -> bool:
    """Return whether a directory is that of a saved context."""
    return (path / "context.json").is_file()
