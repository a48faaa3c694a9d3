"""Where embedded shards go: an index or a directory of Parquet files. Axes: n documents, W width."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from cde_retrievers.bulk.framework_targets import LangChainTarget, LlamaIndexTarget
from cde_retrievers.bulk.plan_file import Plan
from cde_retrievers.bulk.shard_file import Shard, read_shard, write_shard
from cde_retrievers.errors import ConfigurationError, ContextMismatchError, PathInUseError, ShardError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.retrieval.document import Document, is_same
from cde_retrievers.storage.scratch import is_scratch
from cde_retrievers.storage.sync import make_directory
from cde_retrievers.validation.paths import checked_path

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore
    from llama_index.core import VectorStoreIndex


class Target(Protocol):
    """Takes shards in the order of their numbers; one that it has already costs no write."""

    def check(self, plan: Plan) -> None:
        """Raise CDEError if vectors of the plan do not belong there."""

    def add(self, plan: Plan, number: int, shard: Shard) -> int:
        """Add a shard; return how many of its rows were not there before."""


class IndexTarget:
    """A `ContextualIndex`: each shard is one commit.

    Args:
        index: open for writing.
    """

    def __init__(self, index: ContextualIndex) -> None:
        self._index = index

    def check(self, plan: Plan) -> None:
        """Raise ContextMismatchError if the index is of another context."""
        if self._index.context.fingerprint != plan.context_fingerprint:
            raise ContextMismatchError(
                f"the plan's vectors were made under context {plan.context_fingerprint}, but the index is of "
                f"{self._index.context.fingerprint}; create an index with the plan's context, which is in "
                f"{plan.directory / 'context'}"
            )

    def add(self, plan: Plan, number: int, shard: Shard) -> int:
        """Upsert the rows that the index does not hold as they are."""
        there = self._index.get([str(document.id) for document in shard.documents])
        new = [place for place, found in enumerate(there) if not _holds(found, shard.documents[place])]
        if new:
            rows = [shard.documents[place] for place in new]
            self._index.add_embedded(rows, shard.vectors[new], plan.context_fingerprint)
        return len(new)


class ParquetTarget:
    """A directory of its own with one Parquet file for each shard, which reads as one data set.

    Args:
        path: the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self._directory = Path(os.path.abspath(checked_path(path, "into")))

    def check(self, plan: Plan) -> None:
        """Raise PathInUseError if the directory holds anything but shards of this plan."""
        if self._directory.exists() and not self._directory.is_dir():
            raise PathInUseError(f"{self._directory} is a file; give the path of a directory")
        ours = {self._file(number).name: number for number in range(len(plan.shards))}
        for entry in sorted(self._directory.iterdir()) if self._directory.is_dir() else ():
            if is_scratch(entry):  # of a save that was killed; the same save again removes it
                continue
            if entry.name not in ours or not _is_of(entry, plan, ours[entry.name]):
                raise PathInUseError(
                    f"{self._directory} already holds other files ({entry.name}); give a directory of its own"
                )
        make_directory(self._directory)

    def add(self, plan: Plan, number: int, shard: Shard) -> int:
        """Write the shard's file, unless it is there and complete."""
        path = self._file(number)
        if _is_of(path, plan, number):
            return 0
        write_shard(path, shard, plan.identity(number))
        return len(shard.documents)

    def _file(self, number: int) -> Path:
        return self._directory / f"{number:05d}.parquet"


def _holds(found: Document | None, document: Document) -> bool:
    return found is not None and is_same(found, document)


def _is_of(path: Path, plan: Plan, number: int) -> bool:
    try:
        read_shard(path, plan.identity(number))
    except ShardError:
        return False
    return True


def target_of(into: object) -> Target:
    """Return the target for an index, a store or a path.

    Raises:
        ConfigurationError: it is something else, or its embeddings are not of this library.
    """
    if isinstance(into, str | Path):
        return ParquetTarget(into)
    if isinstance(into, ContextualIndex):
        return IndexTarget(into)
    if isinstance(own := getattr(into, "index", None), ContextualIndex):  # a vector store over it
        return IndexTarget(own)
    if _is_a("langchain_core.vectorstores", "VectorStore", into):
        return LangChainTarget(cast("VectorStore", into))
    if _is_a("llama_index.core", "VectorStoreIndex", into):
        return LlamaIndexTarget(cast("VectorStoreIndex", into))
    raise ConfigurationError(
        f"into must be a ContextualIndex, a vector store of LangChain, a VectorStoreIndex of LlamaIndex, or the path "
        f"of a directory for Parquet files, found {type(into).__name__}"
    )


def _is_a(module: str, name: str, value: object) -> bool:
    """Whether a value is of a framework's class; a framework that nobody has imported made none."""
    return module in sys.modules and isinstance(value, getattr(sys.modules[module], name))
