"""An embedded shard as a Parquet file that states what it was made from and carries a hash of its content.

Columns: `id`, `text`, `metadata` (JSON), `vector` (W float32), and in plans with sparse vectors `terms` and `weights`.
Axes: R rows, W width, T terms.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from cde_retrievers.bulk.input_file import hash_of
from cde_retrievers.errors import ShardError
from cde_retrievers.retrieval.document import Document
from cde_retrievers.storage.atomic import replace_bytes
from cde_retrievers.util.imports import imported, require
from cde_retrievers.validation.vectors import Vectors

_KEY = b"cde_retrievers.shard"
_REMEDY = "run the plan again, which embeds this shard again"


@dataclass(frozen=True, slots=True)
class Shard:
    """Embedded rows.

    Attributes:
        documents: R documents with ids.
        vectors: (R, W) float32 unit rows.
        sparse: (R, T) float32, or None.
    """

    documents: Sequence[Document]
    vectors: Vectors
    sparse: csr_matrix | None


def require_parquet() -> None:
    """Raise MissingDependencyError if pyarrow is not installed, before anything is embedded."""
    require("pyarrow.parquet", "embedding in bulk", extra="parquet")


def write_shard(path: Path, shard: Shard, identity: Mapping[str, Any]) -> None:
    """Write the shard, whole or not at all; an older file there is replaced.

    Args:
        path: of the file.
        shard: the rows.
        identity: all that they depend on, as `Plan.identity`.

    Raises:
        WriteError: the disk is full, or the directory is not writable.
    """
    arrow, parquet = _modules()
    note = {**identity, "content": _content_hash(shard)}
    columns = {
        "id": arrow.array([document.id for document in shard.documents], arrow.string()),
        "text": arrow.array([document.text for document in shard.documents], arrow.string()),
        "metadata": arrow.array([_metadata_line(document) for document in shard.documents], arrow.string()),
        "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(shard.vectors.ravel()), shard.vectors.shape[1]),
    }
    if shard.sparse is not None:
        offsets = arrow.array(shard.sparse.indptr.astype(np.int32))
        columns["terms"] = arrow.ListArray.from_arrays(offsets, arrow.array(shard.sparse.indices.astype(np.int32)))
        columns["weights"] = arrow.ListArray.from_arrays(offsets, arrow.array(shard.sparse.data.astype(np.float32)))
        note["terms"] = shard.sparse.shape[1]
    table = arrow.table(columns).replace_schema_metadata({_KEY: json.dumps(note)})
    sink = arrow.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    replace_bytes(path, sink.getvalue().to_pybytes())


def read_shard(path: Path, identity: Mapping[str, Any]) -> Shard:
    """Read a shard and check every value of it.

    Raises:
        ShardError: the file is missing, cut, damaged, or of another shard, input, model or context.
        MissingDependencyError: pyarrow is not installed; names the extra.
    """
    arrow, parquet = _modules()
    try:
        with parquet.ParquetFile(path) as file:
            note = _read_note(file.schema_arrow.metadata)
            _check_note(path, note, identity)
            shard = _shard_of(file.read(), note)
    except FileNotFoundError as error:
        raise ShardError(f"{path} is missing: shard {identity['number']} is not embedded yet; run the plan") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, arrow.ArrowException) as error:
        raise ShardError(f"{path} is cut, damaged or not a shard ({_short(error)}); {_REMEDY}") from error
    if note.get("content") != _content_hash(shard) or hash_of(shard.documents) != identity["input"]:
        raise ShardError(f"{path} is damaged or was edited: its content does not match its hash; {_REMEDY}")
    return shard


def _modules() -> tuple[ModuleType, ModuleType]:
    require_parquet()
    return imported("pyarrow", "embedding in bulk", extra="parquet"), imported(
        "pyarrow.parquet", "embedding in bulk", extra="parquet"
    )


def _check_note(path: Path, note: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    other = sorted(name for name, value in identity.items() if note.get(name) != value)
    if other:
        raise ShardError(f"{path} is not this plan's: it is of another {', '.join(other)}; {_REMEDY}")


def _read_note(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    note = json.loads((metadata or {})[_KEY])
    if not isinstance(note, dict):
        raise ValueError("what it states of itself is not an object")
    return note


def _shard_of(table: Any, note: Mapping[str, Any]) -> Shard:
    table = table.combine_chunks()
    if any(column.null_count for column in table.columns):
        raise ValueError("values are missing")
    texts = zip(*(table.column(name).to_pylist() for name in ("text", "id", "metadata")), strict=True)
    documents = [Document(text, identity, json.loads(metadata)) for text, identity, metadata in texts]
    if len(documents) != note["rows"]:
        raise ValueError(f"it has {len(documents)} rows, and states {note['rows']}")
    vectors = _flat(table, "vector", np.float32).reshape(note["rows"], note["width"])
    return Shard(documents, vectors, _sparse_of(table, note) if note["sparse"] else None)


def _sparse_of(table: Any, note: Mapping[str, Any]) -> csr_matrix:
    lengths = table.column("terms").chunk(0).value_lengths().to_numpy()
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    parts = _flat(table, "weights", np.float32), _flat(table, "terms", np.int32), pointers
    return csr_matrix(parts, shape=(note["rows"], note["terms"]))


def _flat(table: Any, name: str, kind: type[np.generic]) -> Any:
    """Return all numbers of a column of lists, in order."""
    return table.column(name).chunk(0).flatten().to_numpy(zero_copy_only=False).astype(kind, copy=False)


def _metadata_line(document: Document) -> str:
    return json.dumps(dict(document.metadata), ensure_ascii=False, separators=(",", ":"))


def _content_hash(shard: Shard) -> str:
    """Return the SHA-256 of the vectors, dense and sparse; documents have that of the input."""
    digest = hashlib.sha256(np.ascontiguousarray(shard.vectors, dtype="<f4").tobytes())
    if shard.sparse is not None:
        for part, kind in ((shard.sparse.indptr, "<i8"), (shard.sparse.indices, "<i4"), (shard.sparse.data, "<f4")):
            digest.update(np.ascontiguousarray(part, dtype=kind).tobytes())
    return digest.hexdigest()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
