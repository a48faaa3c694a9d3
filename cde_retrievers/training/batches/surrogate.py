"""The surrogate: a frozen model whose vectors of all queries and documents decide the batches.

Axes: Q distinct queries, D distinct documents, n texts, W width.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import TrainingDataError, TrainingError
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.hub import local_folder
from cde_retrievers.model.pretrained import BUILT_IN
from cde_retrievers.model.released import is_published_folder
from cde_retrievers.storage.hashing import sha256_of_json, sha256_of_text
from cde_retrievers.training.array_cache import cached_arrays, write_rows
from cde_retrievers.training.data.pairs import TrainingPairs
from cde_retrievers.util.progress import progress_bar

Vectors = NDArray[np.float32]
_BLOCK_ROWS = 4_096
_NOT_A_UNIT = 1e-3  # more than rounding, also in bfloat16, makes a row's length differ from 1


@dataclass(frozen=True, eq=False)
class PairVectors:
    """Unit vectors of all texts of a `TrainingPairs`.

    Attributes:
        queries: (Q, W) float32, parallel to the pairs' `queries`.
        documents: (D, W) float32, parallel to the pairs' `documents`.
        model: its name, for messages.

    Raises:
        TrainingDataError: they are not float32 unit rows of one width.
    """

    queries: Vectors = field(repr=False)
    documents: Vectors = field(repr=False)
    model: str = "custom"

    def __post_init__(self) -> None:
        for role, vectors in (("query", self.queries), ("document", self.documents)):
            _check_unit_rows(role, vectors)
        if self.queries.shape[1] != self.documents.shape[1]:
            raise TrainingDataError(
                f"queries and documents must share one space, but query vectors are {self.queries.shape[1]} wide and "
                f"document vectors {self.documents.shape[1]}; embed both with one model"
            )

    def check_pairs(self, pairs: TrainingPairs) -> None:
        """Refuse vectors of other pairs.

        Raises:
            TrainingDataError: the numbers of rows and texts differ.
        """
        rows, texts = (len(self.queries), len(self.documents)), (len(pairs.queries), len(pairs.documents))
        if rows != texts:
            raise TrainingDataError(
                f"vectors must have a row for each text of the pairs, but there are {rows} rows of queries and "
                f"documents for {texts} texts; call embed_pairs with these pairs"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all vectors."""
        digest = hashlib.sha256()
        for vectors in (self.queries, self.documents):
            digest.update(f"{vectors.shape}".encode())
            for start in range(0, len(vectors), _BLOCK_ROWS):
                digest.update(np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS]).data)
        return digest.hexdigest()


def load_surrogate(name_or_path: str | Path, cache_folder: str | Path | None = None) -> ContextualEncoder:
    """Load a bi-encoder, or a contextual model for its first stage.

    Args:
        name_or_path: "minilm"; or a directory or hub repository with a Hugging Face or sentence-transformers
            bi-encoder, a released contextual model, or one saved by `ContextualEncoder.save`.
        cache_folder: for downloads from the hub.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
        MissingDependencyError: the built-in model's weights are not installed; names the extra.
    """
    if str(name_or_path) in BUILT_IN:
        return ContextualEncoder.from_pretrained(name_or_path)
    folder = local_folder(name_or_path, cache_folder)
    if is_own_layout(folder) or is_published_folder(folder):
        return ContextualEncoder.from_pretrained(folder, cache_folder=cache_folder)
    return ContextualEncoder.from_biencoder(folder, WhiteningConditioning(power=0))


def embed_pairs(
    pairs: TrainingPairs,
    surrogate: ContextualEncoder | str | Path,
    cache_folder: str | Path | None = None,
    show_progress: bool | None = None,
) -> PairVectors:
    """Embed every distinct query and document, after its prompt, by the surrogate (paper, section 4.1).

    Of a contextual model the bi-encoder in its first stage is used, without the projection after it: there is no
    context yet, and the projection of an untrained model is noise.

    Args:
        pairs: Q distinct queries, D distinct documents.
        surrogate: an encoder, or a name for `load_surrogate`.
        cache_folder: a cache by a hash of texts, model and number format, whose files are memory-mapped; None for no
            cache.
        show_progress: show a bar; None for long work only.

    Raises:
        TrainingError: the surrogate gives a text a vector without a direction.
        PathInUseError, WriteError: as `cached_arrays`.
    """
    encoder = surrogate if isinstance(surrogate, ContextualEncoder) else load_surrogate(surrogate)
    prompts = {"queries": encoder.config.query_prompt, "documents": encoder.config.document_prompt}
    texts = {"queries": pairs.queries, "documents": pairs.documents}

    def blocks(role: str) -> Iterator[Vectors]:
        with progress_bar(len(texts[role]), show_progress, f"Embedding {role}") as bar:
            for start in range(0, len(texts[role]), _BLOCK_ROWS):
                yield _unit_rows(encoder, texts[role][start : start + _BLOCK_ROWS], prompts[role])
                bar.update(min(_BLOCK_ROWS, len(texts[role]) - start))

    if cache_folder is None:
        made = {role: np.concatenate(list(blocks(role))) for role in texts}
        return PairVectors(made["queries"], made["documents"], encoder.name)

    def write(folder: Path) -> None:
        for role in texts:
            write_rows(folder / f"{role}.npy", (len(texts[role]), encoder.width), blocks(role))

    arrays = cached_arrays(cache_folder, "vectors", _made_from(pairs, encoder), write)
    return PairVectors(arrays["queries"], arrays["documents"], encoder.name)


def _made_from(pairs: TrainingPairs, encoder: ContextualEncoder) -> dict[str, Any]:
    """The inputs of the vectors. Not the pairs' fingerprint, which mined negatives change without a new text."""
    texts = {"queries": pairs.queries, "documents": pairs.documents}
    return {
        "texts": {role: sha256_of_json([sha256_of_text(text) for text in known]) for role, known in texts.items()},
        "first_stage": encoder.first_stage_fingerprint(),
        "dtype": str(encoder.dtype),
        "normalised": True,
    }


def _unit_rows(encoder: ContextualEncoder, texts: Sequence[str], prompt: str) -> Vectors:
    vectors = encoder.biencoder_vectors(texts, prompt, False)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lost = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(lost):
        raise TrainingError(
            f"the surrogate {encoder.name!r} gives a vector without a direction to {len(lost)} texts, such as "
            f"{texts[lost[0]][:60]!r}; use another surrogate, or float32 if it runs at lower precision"
        )
    unit: Vectors = vectors / lengths
    return unit


def _check_unit_rows(role: str, vectors: Vectors) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise TrainingDataError(
            f"{role} vectors must be a float32 matrix, found {vectors.dtype} of shape {vectors.shape}; call embed_pairs"
        )
    for start in range(0, len(vectors), _BLOCK_ROWS):
        lengths = np.linalg.norm(vectors[start : start + _BLOCK_ROWS], axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _NOT_A_UNIT))
        if len(wrong):
            raise TrainingDataError(
                f"{role} vectors must have length 1, row {start + wrong[0]} has {lengths[wrong[0]]:.4g}; "
                f"divide every row by its length"
            )


def context_vectors(pairs: TrainingPairs, encoder: ContextualEncoder, cache_folder: Path) -> NDArray[np.float32]:
    """The first-stage vectors (D, W) of the pairs' documents, not normalised, memory-mapped from the cache.

    Args:
        pairs: with D distinct documents.
        encoder: whose first stage is frozen.
        cache_folder: of the vectors, by a hash of texts and model.

    Raises:
        PathInUseError, WriteError: as `cached_arrays`.
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
