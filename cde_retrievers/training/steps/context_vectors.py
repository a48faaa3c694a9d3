"""Context vectors of all documents, for a first stage that is not trained. Axes: D documents, W width."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.files import sha256_of_json, sha256_of_text
from cde_retrievers.training.cache import cached_arrays, write_rows
from cde_retrievers.training.pairs.pairs import TrainingPairs

_BLOCK_ROWS = 4_096


def context_vectors(pairs: TrainingPairs, encoder: ContextualEncoder, cache_folder: Path) -> NDArray[np.float32]:
    """First-stage vectors (D, W) of the pairs' documents, not normalised, mapped from the cache.

    Args:
        pairs: whose documents.
        encoder: whose first stage, as it is before training.
        cache_folder: where they are kept, under a hash of texts and model.

    Raises:
        WriteError: the disk is full.
    """

    def write(folder: Path) -> None:
        blocks = (
            encoder.first_stage_vectors(pairs.documents[start : start + _BLOCK_ROWS])
            for start in range(0, len(pairs.documents), _BLOCK_ROWS)
        )
        write_rows(folder / "documents.npy", (len(pairs.documents), encoder.width), blocks)

    made_from = {
        "texts": sha256_of_json([sha256_of_text(text) for text in pairs.documents]),
        "first_stage": encoder.first_stage_fingerprint(),
        "prompt": encoder.config.document_prompt,
        "dtype": str(encoder.dtype),
    }
    vectors: NDArray[np.float32] = cached_arrays(cache_folder, "context", made_from, write)["documents"]
    return vectors
