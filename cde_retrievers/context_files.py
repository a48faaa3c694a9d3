"""A context on disk: `context.json` and `vectors.safetensors` in one directory, the first vouching for both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cde_retrievers.atomic import atomic_directory, recovered
from cde_retrievers.errors import ContextFileError
from cde_retrievers.files import sha256_of_file, write_json
from cde_retrievers.sealed import read_sealed, sealed

FORMAT_VERSION = 1
HEADER_FILE = "context.json"
VECTORS_FILE = "vectors.safetensors"
_REMEDY = "restore the directory from a copy, or fit the context again and rebuild the index"


class ContextHeader(BaseModel):
    """What a context was made from; fields as in `CorpusContext`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str
    model_fingerprint: str
    documents: tuple[str, ...]
    positions: tuple[int, ...]
    distinct: int
    corpus_size: int
    strategy: str
    seed: int


@dataclass(frozen=True, slots=True)
class StoredContext:
    """What the two files hold.

    Attributes:
        header: what the context was made from.
        fingerprint: of the context.
        vectors: context vectors (N, width).
        probe: as in `CorpusContext`, (width,) or None.
    """

    header: ContextHeader
    fingerprint: str
    vectors: NDArray[np.float32]
    probe: NDArray[np.float32] | None


def write_context(path: str | Path, context: StoredContext) -> None:
    """Write both files into the directory `path`, whole or not at all."""
    probe = {} if context.probe is None else {"probe": context.probe}
    tensors = {"vectors": context.vectors, **probe}
    with atomic_directory(path, is_ours=lambda folder: (folder / HEADER_FILE).is_file()) as directory:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, directory / VECTORS_FILE)
        content = {
            **context.header.model_dump(mode="json"),
            "fingerprint": context.fingerprint,
            "vectors_sha256": sha256_of_file(directory / VECTORS_FILE),
        }
        write_json(directory / HEADER_FILE, sealed(content, FORMAT_VERSION))


def read_context(path: str | Path) -> StoredContext:
    """What is in the directory `path`.

    Raises:
        ContextFileError: a file is missing, truncated, damaged or edited.
    """
    directory = recovered(path)
    if not (directory / HEADER_FILE).is_file():
        raise ContextFileError(f"{directory} holds no context: there is no {HEADER_FILE} in it; {_REMEDY}")
    content = read_sealed(directory / HEADER_FILE, ContextFileError, _REMEDY, FORMAT_VERSION)
    tensors = _read_tensors(directory / VECTORS_FILE, content.pop("vectors_sha256"))
    vectors = tensors["vectors"]
    fingerprint = content.pop("fingerprint")
    try:
        header = ContextHeader(**content)
    except ValidationError as error:
        raise ContextFileError(f"{directory / HEADER_FILE} is not a valid context: {error}; {_REMEDY}") from error
    if len(header.documents) != len(vectors) or len(header.positions) != len(vectors):
        raise ContextFileError(
            f"{directory} has {len(vectors)} vectors for {len(header.documents)} documents; {_REMEDY}"
        )
    return StoredContext(header, fingerprint, vectors, tensors.get("probe"))


def _read_tensors(path: Path, sha256: str) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        raise ContextFileError(f"{path.parent} is incomplete: there is no {VECTORS_FILE} in it; {_REMEDY}")
    found = sha256_of_file(path)
    if found != sha256:
        raise ContextFileError(
            f"{path} is truncated, damaged or from another context: its sha256 is {found}, "
            f"{HEADER_FILE} says {sha256}; {_REMEDY}"
        )
    try:
        tensors: dict[str, NDArray[np.float32]] = load_file(path)
    except SafetensorError as error:
        raise ContextFileError(f"{path} is not a file of context vectors ({error}); {_REMEDY}") from error
    if "vectors" not in tensors:
        raise ContextFileError(f"{path} is not a file of context vectors (it holds {sorted(tensors)}); {_REMEDY}")
    return tensors
