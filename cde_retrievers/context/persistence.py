"""A context on disk: `context.json`, with checksums, and `vectors.safetensors` in one directory."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cde_retrievers.errors import ConfigurationError, ContextFileError
from cde_retrievers.sparse.term_statistics import TermStatistics
from cde_retrievers.storage.atomic import atomic_directory, recovered
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.storage.hashing import sha256_of_file, write_json
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.vectors import checked_vectors

FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)  # the first has no term statistics
HEADER_FILE = "context.json"
VECTORS_FILE = "vectors.safetensors"
_REMEDY = "restore the directory from a copy, or fit the context again and rebuild the index"
_VECTORS, _PROBE = "vectors", "probe"
_TERMS, _FREQUENCIES = "terms", "term_frequencies"

Text = Annotated[str, Field(strict=True)]
Whole = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]  # what files and numpy can hold
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]


class ContextHeader(BaseModel):
    """How a context was made; fields as in `CorpusContext`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: Text
    model_fingerprint: Text
    documents: tuple[Text, ...]
    positions: tuple[Whole, ...]
    distinct: Whole
    corpus_size: Whole
    strategy: Text
    seed: Whole


class TermSettings(BaseModel):
    """What term statistics hold beside arrays; fields as in `TermStatistics`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    language: str | None
    analyzer: str
    documents: Count
    mean_length: float
    k1: float
    b: float


class _HeaderFile(ContextHeader):
    """The contents of `context.json`: the header in JSON types, and checksums."""

    positions: tuple[Count, ...]
    distinct: Count
    corpus_size: Count
    seed: Annotated[Whole, Field(strict=True)]
    terms: TermSettings | None = None
    fingerprint: Sha256
    vectors_sha256: Sha256


@dataclass(frozen=True, slots=True)
class StoredContext:
    """The contents of both files.

    Attributes:
        header: how the context was made.
        fingerprint: fingerprint of the context.
        vectors: context vectors (N, width).
        probe: as in `CorpusContext`, (width,) or None.
        terms: term statistics, or None.
    """

    header: ContextHeader
    fingerprint: str
    vectors: NDArray[np.float32]
    probe: NDArray[np.float32] | None
    terms: TermStatistics | None


def write_context(path: str | Path, context: StoredContext) -> None:
    """Write both files into the directory `path`, whole or not at all."""
    probe = {} if context.probe is None else {"probe": context.probe}
    tensors: dict[str, NDArray[Any]] = {"vectors": context.vectors, **probe}
    terms = context.terms
    if terms is not None:
        tensors |= {_TERMS: terms.terms, _FREQUENCIES: terms.frequencies}
    with atomic_directory(path, is_ours=lambda folder: (folder / HEADER_FILE).is_file()) as directory:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, directory / VECTORS_FILE)
        content = {
            **context.header.model_dump(mode="json"),
            "terms": None if terms is None else {name: getattr(terms, name) for name in TermSettings.model_fields},
            "fingerprint": context.fingerprint,
            "vectors_sha256": sha256_of_file(directory / VECTORS_FILE),
        }
        write_json(directory / HEADER_FILE, sealed(content, FORMAT_VERSION))


def read_context(path: str | Path) -> StoredContext:
    """Read a context from the directory `path`.

    Raises:
        ContextFileError: a file is missing, truncated, damaged or edited.
    """
    directory = recovered(path)
    if not os.path.isfile(directory / HEADER_FILE):  # false where pathlib raises, such as for a name too long
        raise ContextFileError(f"{directory} holds no context: there is no {HEADER_FILE} in it; {_REMEDY}")
    content = read_checksummed(directory / HEADER_FILE, ContextFileError, _REMEDY, _READ_VERSIONS)
    try:
        file = _HeaderFile(**content)
    except ValidationError as error:
        problems = readable(error.errors())
        raise ContextFileError(f"{directory / HEADER_FILE} is not a valid context: {problems}; {_REMEDY}") from error
    tensors = _read_tensors(directory / VECTORS_FILE, file.vectors_sha256)
    vectors, lengths = tensors[_VECTORS], {len(file.documents), len(file.positions)}
    # A context of null vectors has no documents.
    if lengths != {len(vectors)} and (lengths, file.distinct) != ({0}, 0):
        raise ContextFileError(f"{directory} has {len(vectors)} vectors for {len(file.documents)} documents; {_REMEDY}")
    header = ContextHeader(**file.model_dump(include=set(ContextHeader.model_fields)))
    terms = _term_statistics(directory, file.terms, tensors)
    return StoredContext(header, file.fingerprint, vectors, tensors.get(_PROBE), terms)


def _term_statistics(
    directory: Path, settings: TermSettings | None, tensors: Mapping[str, NDArray[Any]]
) -> TermStatistics | None:
    if (settings is None) != (_TERMS not in tensors):
        raise ContextFileError(f"{directory} has term statistics in one of its files and none in the other; {_REMEDY}")
    if settings is None:
        return None
    try:
        return TermStatistics(
            terms=tensors[_TERMS], frequencies=tensors[_FREQUENCIES], **settings.model_dump(mode="python")
        )
    except ConfigurationError as error:
        raise ContextFileError(f"{directory} holds no context: {error}; {_REMEDY}") from error


def _read_tensors(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Read finite vectors (N, W), N and W at least 1, and where there are any the probe (W,) and terms (T,) int32."""
    if not os.path.isfile(path):
        raise ContextFileError(f"{path.parent} is incomplete: there is no {VECTORS_FILE} in it; {_REMEDY}")
    found = sha256_of_file(path)
    if found != sha256:
        raise ContextFileError(
            f"{path} is truncated, damaged or from another context: its sha256 is {found}, "
            f"but {HEADER_FILE} states {sha256}; {_REMEDY}"
        )
    with _blamed_on(path), safe_open(path, framework="np") as file:
        _check_tensors({name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118 - it is not a mapping
        tensors: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name in tensors.keys() & {_VECTORS, _PROBE}:
            checked_vectors(np.atleast_2d(tensors[name]), None, None, ContextFileError)
        return tensors


def _check_tensors(slices: Mapping[str, Any]) -> None:
    statistics = {_TERMS, _FREQUENCIES} & slices.keys()
    if not {_VECTORS} <= slices.keys() <= {_VECTORS, _PROBE, _TERMS, _FREQUENCIES} or len(statistics) == 1:
        raise ContextFileError(f"it holds the tensors {sorted(slices)}")
    if any(slices[name].get_dtype() != "I32" for name in statistics):
        raise ContextFileError("terms and their frequencies must be int32")
    kinds = {tensor.get_dtype() for name, tensor in slices.items() if name not in statistics}
    shape = slices[_VECTORS].get_shape()
    if kinds != {"F32"} or len(shape) != 2 or 0 in shape:
        raise ContextFileError(f"a float32 matrix is expected, but it holds {sorted(kinds)} of shape {shape}")
    if _PROBE in slices and slices[_PROBE].get_shape() != shape[1:]:
        raise ContextFileError(f"its probe has shape {slices[_PROBE].get_shape()}, but its vectors {shape}")


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, ContextFileError) as error:
        raise ContextFileError(f"{path} does not hold context vectors ({error}); {_REMEDY}") from error
