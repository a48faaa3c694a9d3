"""What a directory holds, found out without opening the index in it."""

from pathlib import Path

from cde_retrievers.index.reader import IndexReader
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.symlinks import index_directory


def holds_index(path: str | Path) -> bool:
    """Whether a directory holds a finished index, which may be damaged."""
    return IndexStore(index_directory(path)).is_served


def context_of_index(index: IndexReader | str | Path) -> str:
    """Return the fingerprint of the context of an index, or of the index in a directory, as it is served now.

    Raises:
        IndexFileError: there is no index, or it is not finished, or its manifest is damaged.
    """
    directory = index.path if isinstance(index, IndexReader) else index_directory(index)
    return IndexStore(directory).served().context
