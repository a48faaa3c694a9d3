"""Documents of one commit to their vectors, while a bar moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder
from cde_retrievers.index.document import Document

# Seconds of work on a slow CPU: a bar that stands still for a minute looks like a program that hangs.
_AT_A_TIME = 512


def embedded(embedder: Embedder, documents: Sequence[Document], context: CorpusContext, bar: "tqdm[Any]") -> Embeddings:
    """Vectors (n, W) of n documents, at least one, under the context; the bar counts documents."""
    parts = []
    for start in range(0, len(documents), _AT_A_TIME):
        texts = [document.text for document in documents[start : start + _AT_A_TIME]]
        parts.append(embedder.encode_documents(texts, context, show_progress=False))
        bar.update(len(texts))
    return np.concatenate(parts)
