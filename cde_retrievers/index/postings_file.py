"""The postings of a segment in one file."""

from pathlib import Path

from cde_retrievers.index.tensors_file import map_tensors, write_tensors
from cde_retrievers.sparse.postings import Postings

_TYPES = {"bounds": "I64", "terms": "I32", "rows": "I32", "weights": "F32"}


def write_postings(path: Path, postings: Postings) -> None:
    """Write postings to a new file; the caller syncs it."""
    write_tensors(path, {name: getattr(postings, name) for name in _TYPES})


def map_postings(path: Path, rows: int) -> Postings:
    """Map the postings of that many rows.

    Raises:
        ValueError: the file holds something else.
    """
    postings = Postings(**map_tensors(path, _TYPES))
    wrong = postings.contradiction(rows)
    if wrong is not None:
        raise ValueError(wrong)
    return postings
