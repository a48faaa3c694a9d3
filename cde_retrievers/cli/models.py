"""Encoders for commands, which know how much of the documents they could not read."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.model.pretrained import BUILT_IN

if TYPE_CHECKING:
    from cde_retrievers.cli.options import ModelOptions
    from cde_retrievers.cli.session import Session

_DEFAULT = "minilm"


class CountingEncoder(ContextualEncoder):
    """Adds up how many documents are longer than the model reads.

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
        """Say how many documents cannot be found by what stands at their end."""
        if self.cut:
            session.warn(
                f"{self.cut:,} of {self.documents:,} documents are longer than the {self.config.max_length} tokens "
                f"that the model reads: what stands behind them cannot be found; make parts of them with --split"
            )


def load_encoder(options: "ModelOptions", made_with: str | None = None) -> CountingEncoder:
    """The model asked for, or else the one that a context was made with.

    Raises:
        As `ContextualEncoder.from_pretrained`.
    """
    name = options.model or made_with or _DEFAULT
    if name not in BUILT_IN and Path(name).is_dir():
        # The name is kept in contexts and indexes, which are used from other directories too.
        name = str(Path(name).resolve())
    return CountingEncoder.from_pretrained(name, options.device, options.dtype)


class _CutTexts(logging.Handler):
    """Hears what the tokenizer says about texts that are too long."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.cut = 0

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and "were cut" in record.msg:
            self.cut += int(str(record.args[0]))


@contextmanager
def _counted() -> Iterator[_CutTexts]:
    counter, tokenizer = _CutTexts(), logging.getLogger("cde_retrievers.text")
    tokenizer.addHandler(counter)
    try:
        yield counter
    finally:
        tokenizer.removeHandler(counter)
