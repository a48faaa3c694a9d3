"""Whether vectors that arrive from elsewhere are what an embedding makes of their texts.

Axes: W width.
"""

import numpy as np

from cde_retrievers.batches import Embeddings
from cde_retrievers.errors import ContextMismatchError

_SAME = 0.99
"""Cosine from which two vectors of a text are the same but for the number format and the batch they were made in."""


def check_vector(found: Embeddings, expected: Embeddings, whose: str, fingerprint: str) -> None:
    """Refuse a vector that was made by another model, under another context or of another text.

    Args:
        found: (W,) unit vector that arrived.
        expected: (W,) unit vector of the text.
        whose: of what it should be the vector, for the message.
        fingerprint: of the context that it should be made under.

    Raises:
        ContextMismatchError: the two differ.
    """
    cosine = float(np.dot(found, expected))
    if not cosine >= _SAME:  # also where it is no number
        raise ContextMismatchError(
            f"the vector of {whose} is not the one that its text has under context {fingerprint} (cosine "
            f"{cosine:.3f}), so it was made by another model or under another context. Give the index the store's own "
            f"embedding (embed_model=store.embed_model), and set node.embedding = None where nodes have vectors from "
            f"before. If vectors shall differ from those of the texts, as with HyDE, make the store with verify=False"
        )
