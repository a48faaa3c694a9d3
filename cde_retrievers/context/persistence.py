"""A context on disk: `context.json`, with checksums, and `vectors.safetensors` in one directory."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cde_retrievers.errors import ContextFileError
from cde_retrievers.storage.atomic import atomic_directory, checked_directory, recovered
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.storage.hashing import sha256_of_file, write_json
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.vectors import checked_vectors

FORMAT_VERSION = 2
_WITHOUT_TERMS = 1  # what earlier releases wrote, and still read
HEADER_FILE = "context.json"
VECTORS_FILE = "vectors.safetensors"
REMEDY = "restore the directory from a copy, or fit the context again and rebuild the index"
_VECTORS, _PROBE = "vectors", "probe"
TERMS, TERM_NUMBERS, TERM_FREQUENCIES = "terms", "term_numbers", "term_frequencies"
_NUMBER_FORMATS = {_VECTORS: "F32", _PROBE: "F32", TERM_NUMBERS: "I32", TERM_FREQUENCIES: "I32"}


class _Header(BaseModel):
    """The contents of `context.json`: checksums, and as extra keys the context's values."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    fingerprint: Sha256
    vectors_sha256: Sha256


def write_context(path: str | Path, fingerprint: str, values: Mapping[str, Any]) -> None:
    """Write both files into the directory `path`, whole or not at all.

    Args:
        path: the directory.
        fingerprint: of the context.
        values: arrays, which are written as tensors, and values that JSON can hold; those that are None are left out.
    """
    tensors = {name: np.ascontiguousarray(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    with atomic_directory(path, is_ours=_holds_context) as directory:
        save_file(tensors, directory / VECTORS_FILE)
        content = {
            **{name: value for name, value in values.items() if name not in tensors and value is not None},
            "fingerprint": fingerprint,
            "vectors_sha256": sha256_of_file(directory / VECTORS_FILE),
        }
        version = FORMAT_VERSION if content.get(TERMS) is not None else _WITHOUT_TERMS
        write_json(directory / HEADER_FILE, sealed(content, version))


def check_target(path: str | Path) -> None:
    """Raise what `write_context` would if there is something else than a context at `path`; nothing is made."""
    checked_directory(path, is_ours=_holds_context)


def _holds_context(folder: Path) -> bool:
    return (folder / HEADER_FILE).is_file()


def read_context(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Read a context's fingerprint and values from the directory `path`; of the values, the vectors alone are checked.

    Raises:
        ContextFileError: a file is missing, truncated, damaged or edited.
    """
    directory = recovered(path)
    if not os.path.isfile(directory / HEADER_FILE):  # false where pathlib raises, such as for a name too long
        raise ContextFileError(f"{directory} holds no context: there is no {HEADER_FILE} in it; {REMEDY}")
    content = read_checksummed(directory / HEADER_FILE, ContextFileError, REMEDY, (_WITHOUT_TERMS, FORMAT_VERSION))
    try:
        header = _Header(**content)
    except ValidationError as error:
        problems = readable(error.errors())
        raise ContextFileError(f"{directory / HEADER_FILE} is not a valid context: {problems}; {REMEDY}") from error
    tensors = _read_tensors(directory / VECTORS_FILE, header.vectors_sha256)
    return header.fingerprint, {**(header.model_extra or {}), **tensors}


def _read_tensors(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Read finite vectors (N, W), N and W at least 1, and where there are any the probe (W,) and terms, int32 (T,)."""
    if not os.path.isfile(path):
        raise ContextFileError(f"{path.parent} is incomplete: there is no {VECTORS_FILE} in it; {REMEDY}")
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise ContextFileError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
    if found != sha256:
        raise ContextFileError(
            f"{path} is truncated, damaged or from another context: its sha256 is {found}, "
            f"but {HEADER_FILE} states {sha256}; {REMEDY}"
        )
    with _blamed_on(path), safe_open(path, framework="np") as file:
        _check_tensors({name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118 - it is not a mapping
        tensors: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name in tensors.keys() & {_VECTORS, _PROBE}:
            checked_vectors(np.atleast_2d(tensors[name]), None, None, ContextFileError)
        return tensors


def _check_tensors(slices: Mapping[str, Any]) -> None:
    if not {_VECTORS} <= slices.keys() <= _NUMBER_FORMATS.keys():
        raise ContextFileError(f"it holds the tensors {sorted(slices)}")
    found = {name: tensor.get_dtype() for name, tensor in slices.items()}
    shape = slices[_VECTORS].get_shape()
    if found != {name: _NUMBER_FORMATS[name] for name in found} or len(shape) != 2 or 0 in shape:
        raise ContextFileError(f"a float32 matrix is expected, but it holds {found} of shape {shape}")
    if _PROBE in slices and slices[_PROBE].get_shape() != shape[1:]:
        raise ContextFileError(f"its probe has shape {slices[_PROBE].get_shape()}, but its vectors {shape}")


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, ContextFileError, OSError) as error:
        raise ContextFileError(f"{path} does not hold context vectors ({error}); {REMEDY}") from error
