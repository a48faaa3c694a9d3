"""The check that no two rows of a plan have the same id, in eight bytes of memory a row."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import DuplicateIdError
from cde_retrievers.retrieval.document import Document

Hashes = NDArray[np.uint64]


def id_hashes(documents: Sequence[Document]) -> Hashes:
    """Return a hash of 64 bits of each document's id, (n,)."""
    digests = b"".join(blake2b(str(document.id).encode(), digest_size=8).digest() for document in documents)
    return np.frombuffer(digests, dtype=np.uint64)


def repeated_hashes(parts: Sequence[Hashes]) -> frozenset[int]:
    """Return the hashes that come more than once."""
    together = np.concatenate(parts)
    together.sort()
    return frozenset(together[1:][together[1:] == together[:-1]].tolist())


def refuse_repeated_ids(documents: Iterable[Document], suspects: frozenset[int]) -> None:
    """Raise DuplicateIdError for the first id that comes twice; ids whose hashes are alike by chance pass.

    Args:
        documents: all rows, in order.
        suspects: what `repeated_hashes` returned; only their ids are kept in memory.
    """
    places: dict[str, int] = {}
    for place, document in enumerate(documents):
        identity = str(document.id)
        if int(id_hashes([document])[0]) not in suspects:
            continue
        if identity in places:
            raise DuplicateIdError(
                f"document {place} has the id {identity!r}, which document {places[identity]} already has; give each "
                f"its own, or tell sources apart with id_prefix="
            )
        places[identity] = place
