"""Under which context an index says it was built, without opening more than its manifest."""

from pathlib import Path

from cde_retrievers.index.entries import index_directory
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.store import IndexStore


def holds_index(path: str | Path) -> bool:
    """Whether there is a finished index in the directory."""
    return IndexStore(index_directory(path)).is_served


def context_of_index(index: IndexReader | str | Path) -> str:
    """Fingerprint of the context of an index, or of the one in a directory, as it is served now.

    Raises:
        IndexFileError: there is no index, it is not finished, or its manifest is damaged.
    """
    directory = index.path if isinstance(index, IndexReader) else index_directory(index)
    return IndexStore(directory).served().context
