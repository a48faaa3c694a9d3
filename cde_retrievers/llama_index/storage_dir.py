"""The directory of a persisted index: LlamaIndex's files, the context, and a seal with the checksums of the files."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE, NAMESPACE_SEP, SimpleVectorStore
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_FNAME

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ContextFileError
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.hashing import sha256_of_file, write_json

CONTEXT_FOLDER = "context"
SEAL_FILE = "cde_index.json"
_VECTORS_FILE = f"{DEFAULT_VECTOR_STORE}{NAMESPACE_SEP}{DEFAULT_PERSIST_FNAME}"
_REMEDY = "restore the directory from a copy, or build the index again and save it with persist_index"


def seal_with_context(folder: Path, context: CorpusContext) -> None:
    """Save the context next to the index files in `folder`, and seal both."""
    files = {entry.name: sha256_of_file(entry) for entry in sorted(folder.iterdir()) if entry.is_file()}
    context.save(folder / CONTEXT_FOLDER)
    write_json(folder / SEAL_FILE, sealed({"fingerprint": context.fingerprint, "files": files}))


def sealed_context(folder: Path) -> CorpusContext:
    """Return the context under which the index in `folder` was built.

    Raises:
        ContextFileError: the context is missing, or a file is damaged or was changed since.
    """
    context = CorpusContext.load(folder / CONTEXT_FOLDER)
    content = _read_seal(folder / SEAL_FILE)
    if content["fingerprint"] != context.fingerprint:
        raise ContextFileError(
            f"{folder / CONTEXT_FOLDER} holds context {context.fingerprint}, but the index next to it was built under "
            f"{content['fingerprint']}; {_REMEDY}"
        )
    for name, sha256 in content["files"].items():
        _check_file(folder / name, sha256)
    return context


def sealed_files(folder: Path) -> Collection[str]:
    """Return the names of the files that were sealed with a context; none in any other directory."""
    path = folder / SEAL_FILE
    return cast(dict[str, str], _read_seal(path)["files"]) if path.is_file() else ()


def context_in(folder: Path) -> CorpusContext | None:
    """Return the context in a persisted index's directory, or None; if there is a seal, as `sealed_context`."""
    if (folder / SEAL_FILE).is_file():
        return sealed_context(folder)
    return CorpusContext.load(folder / CONTEXT_FOLDER) if (folder / CONTEXT_FOLDER).is_dir() else None


def vectors_in(folder: Path) -> SimpleVectorStore | None:
    """Return the `SimpleVectorStore` in a persisted index's directory; None if the vectors are elsewhere."""
    path = folder / _VECTORS_FILE
    return SimpleVectorStore.from_persist_path(str(path)) if path.is_file() else None


def _read_seal(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ContextFileError(
            f"{path.parent} was not saved with persist_index: it has no {path.name}, which records that the context "
            f"belongs to the index; load it as LlamaIndex does, then save it with persist_index"
        )
    return read_checksummed(path, ContextFileError, _REMEDY)


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ContextFileError(f"{path.parent} is incomplete: it has no {path.name}; {_REMEDY}")
    if sha256_of_file(path) != sha256:
        raise ContextFileError(
            f"{path} is damaged, or was changed since by something other than persist_index, so the context of the "
            f"index is unknown; {_REMEDY}"
        )
