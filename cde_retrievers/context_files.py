"""A context on disk: `context.json` and `vectors.safetensors` in one directory, the first vouching for both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cde_retrievers.errors import ContextFileError
from cde_retrievers.files import atomic_directory, sha256_of_file, sha256_of_json, write_json

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


def write_context(path: str | Path, header: ContextHeader, fingerprint: str, vectors: NDArray[np.float32]) -> None:
    """Write both files into the directory `path`, whole or not at all."""
    with atomic_directory(path, is_ours=lambda folder: (folder / HEADER_FILE).is_file()) as directory:
        save_file({"vectors": np.ascontiguousarray(vectors)}, directory / VECTORS_FILE)
        content = {
            **header.model_dump(mode="json"),
            "format_version": FORMAT_VERSION,
            "fingerprint": fingerprint,
            "vectors_sha256": sha256_of_file(directory / VECTORS_FILE),
        }
        write_json(directory / HEADER_FILE, {**content, "seal": sha256_of_json(content)})


def read_context(path: str | Path) -> tuple[ContextHeader, str, NDArray[np.float32]]:
    """Header, fingerprint and vectors (N, width) from the directory `path`.

    Raises:
        ContextFileError: a file is missing, truncated, damaged or edited.
    """
    directory = Path(path)
    content = _read_header(directory / HEADER_FILE)
    vectors = _read_vectors(directory / VECTORS_FILE, content.pop("vectors_sha256"))
    fingerprint = content.pop("fingerprint")
    try:
        header = ContextHeader(**content)
    except ValidationError as error:
        raise ContextFileError(f"{directory / HEADER_FILE} is not a valid context: {error}; {_REMEDY}") from error
    if len(header.documents) != len(vectors) or len(header.positions) != len(vectors):
        raise ContextFileError(
            f"{directory} has {len(vectors)} vectors for {len(header.documents)} documents; {_REMEDY}"
        )
    return header, fingerprint, vectors


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ContextFileError(f"{path.parent} holds no context: there is no {HEADER_FILE} in it; {_REMEDY}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContextFileError(f"{path} is damaged: it is no JSON ({error}); {_REMEDY}") from error
    seal = content.pop("seal", None) if isinstance(content, dict) else None
    if seal != sha256_of_json(content):
        raise ContextFileError(f"{path} was edited: its content does not match its seal; {_REMEDY}")
    version = content.pop("format_version")
    if version != FORMAT_VERSION:
        raise ContextFileError(
            f"{path} has format version {version}, this release reads {FORMAT_VERSION}; update cde-retrievers"
        )
    return dict(content)


def _read_vectors(path: Path, sha256: str) -> NDArray[np.float32]:
    if not path.is_file():
        raise ContextFileError(f"{path.parent} is incomplete: there is no {VECTORS_FILE} in it; {_REMEDY}")
    found = sha256_of_file(path)
    if found != sha256:
        raise ContextFileError(
            f"{path} is truncated, damaged or from another context: its sha256 is {found}, "
            f"{HEADER_FILE} says {sha256}; {_REMEDY}"
        )
    try:
        vectors: NDArray[np.float32] = load_file(path)["vectors"]
    except (SafetensorError, KeyError) as error:
        raise ContextFileError(f"{path} is not a file of context vectors ({error}); {_REMEDY}") from error
    return vectors
