"""Several one-dimensional tensors in one safetensors file, written at once and mapped into memory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from cde_retrievers.index.symlinks import new_file

_DTYPES = {"I64": "<i8", "I32": "<i4", "F32": "<f4", "U8": "|u1"}
_MAX_HEAD = 4_096


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write tensors (n,) to a new file; the caller syncs it."""
    with new_file(path) as file:
        file.write(save(dict(tensors)))


def map_tensors(path: Path, types: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Map the tensors of a file.

    Args:
        path: path of the file.
        types: type of each as safetensors calls it: "I64", "I32", "F32" or "U8".

    Raises:
        ValueError: the file holds something else.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length)) if length <= _MAX_HEAD else None
    if not isinstance(head, dict):
        raise ValueError("it has no head")
    arrays = {name: _mapped(path, head.get(name), kind, 8 + length) for name, kind in types.items()}
    if path.stat().st_size != 8 + length + sum(array.nbytes for array in arrays.values()):
        raise ValueError("its size is another than that of its parts")
    return arrays


def _mapped(path: Path, entry: object, kind: str, start: int) -> NDArray[Any]:
    """Map one tensor (n,) of the file, whose data begin at byte `start`."""
    found = entry if isinstance(entry, dict) else {}
    shape, offsets = found.get("shape"), found.get("data_offsets")
    if found.get("dtype") != kind or not _are_counts(shape, 1) or not _are_counts(offsets, 2):
        raise ValueError(f"its head does not describe one-dimensional tensors of type {kind}")
    (size,), (first, stop), dtype = shape, offsets, np.dtype(_DTYPES[kind])
    if stop - first != size * dtype.itemsize or start + stop > path.stat().st_size:
        raise ValueError("its tensors lie outside the file")
    if size == 0:
        return np.empty(0, dtype=dtype)  # an empty part of a file cannot be mapped
    return np.memmap(path, dtype, "r", start + first, (size,))


def _are_counts(found: object, length: int) -> TypeGuard[list[int]]:
    return isinstance(found, list) and len(found) == length and all(type(n) is int and n >= 0 for n in found)
