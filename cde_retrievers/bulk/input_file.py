"""The rows of a shard on disk: one JSON object a line, with the SHA-256 of the whole file in the plan."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from cde_retrievers.bulk.plan_file import REMEDY, ShardInput
from cde_retrievers.errors import PlanError
from cde_retrievers.retrieval.document import Document, from_line, to_line


def write_input(path: Path, documents: Sequence[Document]) -> ShardInput:
    """Write checked documents with ids; return their number and the hash of the file."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for document in documents:
            line = to_line(document)
            digest.update(line)
            file.write(line)
    return ShardInput(rows=len(documents), sha256=digest.hexdigest())


def read_input(path: Path, expected: ShardInput) -> list[Document]:
    """Read the documents back.

    Raises:
        PlanError: the file is missing, cannot be read, or is not the one that was planned.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise PlanError(f"{path} has changed since the plan was made: its sha256 is not the one planned; {REMEDY}")
    return [from_line(line) for line in content.splitlines(keepends=True)]


def hash_of(documents: Iterable[Document]) -> str:
    """Return the hash of the file that would hold these documents."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(to_line(document))
    return digest.hexdigest()
