"""Sparse rows of documents by id, and the context they were made under, in one file that is replaced whole.

Axis: R documents.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cde_retrievers.errors import IndexFileError
from cde_retrievers.sparse.postings import Postings
from cde_retrievers.storage.atomic import replace_bytes
from cde_retrievers.storage.hashing import sha256_of_json

_VERSION = "1"
_POSTINGS = {"terms": "I32", "bounds": "I64", "rows": "I32", "weights": "F32"}
_IDS = "ids"
_TYPES = {**_POSTINGS, _IDS: "U8"}
_CONTEXT, _SEAL, _FORMAT = "context", "seal", "format_version"
_REMEDY = "restore it from a copy, or remove it and add the documents again"


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """The sparse rows of documents.

    Attributes:
        ids: ids of the documents, R, each once.
        postings: their rows by term, numbered as the ids.
        row_of: number of each document's row, by its id.
    """

    ids: tuple[str, ...]
    postings: Postings
    row_of: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_of", {identity: row for row, identity in enumerate(self.ids)})


def write_rows(path: Path, context: str, rows: SparseRows) -> None:
    """Replace the file at `path`; at every moment the old or the new one is there, whole.

    Raises:
        WriteError: the disk is full, or the path cannot be written to.
    """
    ids = np.frombuffer(json.dumps(rows.ids).encode("ascii"), dtype=np.uint8)
    tensors = {_IDS: ids, **{name: getattr(rows.postings, name) for name in _POSTINGS}}
    metadata = {_FORMAT: _VERSION, _CONTEXT: context, _SEAL: _seal(context, tensors)}
    replace_bytes(path, save(tensors, metadata))


def read_rows(path: Path) -> tuple[str, SparseRows]:
    """Read a context's fingerprint and the rows made under it.

    Raises:
        FileNotFoundError: there is no such file.
        IndexFileError: it cannot be read, is damaged, was edited or is of another version.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            found = metadata.get(_FORMAT)
            if found is None:
                raise ValueError("it states no format version")
            if found != _VERSION:
                raise IndexFileError(
                    f"{path} has format version {found}, but this release reads {_VERSION}; update cde-retrievers"
                )
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a mapping
            if types != _TYPES:
                raise ValueError(f"it holds the tensors {types}")
            tensors: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in _TYPES}
        context = metadata.get(_CONTEXT, "")
        if metadata.get(_SEAL) != _seal(context, tensors):
            raise ValueError("its content does not match its seal")
        return context, _checked(tensors)
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise IndexFileError(f"{path} is damaged: {error}; {_REMEDY}") from error


def _checked(tensors: Mapping[str, NDArray[Any]]) -> SparseRows:
    ids = json.loads(tensors[_IDS].tobytes())
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(set(ids)) != len(ids):
        raise ValueError("its ids are not a list of different strings")
    postings = Postings(**{name: tensors[name] for name in _POSTINGS})
    wrong = postings.contradiction(len(ids))
    if wrong is not None:
        raise ValueError(wrong)
    return SparseRows(tuple(ids), postings)


def _seal(context: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    parts = [hashlib.sha256(tensors[name].tobytes()).hexdigest() for name in sorted(tensors)]
    return sha256_of_json([_VERSION, context, *parts])
