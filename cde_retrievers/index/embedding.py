"""Documents of one commit to their vectors, while a bar moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder
from cde_retrievers.index.document import Document
from cde_retrievers.vectors import checked_embeddings

# Seconds of work on a slow CPU: a bar that stands still for a minute looks like a program that hangs.
_AT_A_TIME = 512


def embedded(
    embedder: Embedder, documents: Sequence[Document], context: CorpusContext, width: int, bar: "tqdm[Any]"
) -> Embeddings:
    """Unit vectors (n, W) of n documents under the context; the bar counts documents.

    Args:
        embedder: of the context.
        documents: n documents.
        context: to embed them under.
        width: W, of the index.
        bar: moves while a batch is embedded.

    Raises:
        EmbeddingServiceError: the embedder answered with something that is not one unit vector for each document.
    """
    vectors = np.empty((len(documents), width), dtype=np.float32)
    for start in range(0, len(documents), _AT_A_TIME):
        texts = [document.text for document in documents[start : start + _AT_A_TIME]]
        answer = embedder.encode_documents(texts, context, show_progress=False)
        vectors[start : start + len(texts)] = checked_embeddings(answer, len(texts), width)
        bar.update(len(texts))
    return vectors
