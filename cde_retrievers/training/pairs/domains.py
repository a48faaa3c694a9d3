"""What the domain of a document is called: batches are drawn within it."""

from collections.abc import Mapping
from typing import Any

from cde_retrievers.errors import TrainingDataError

_FIELD = "domain"


def domain_name(name: str, metadata: Mapping[str, Any], place: str) -> str:
    """The set, and behind it the part of the set that the document's metadata names as `domain`, if any.

    Args:
        name: of the set; may be empty.
        metadata: of the document.
        place: where the document is, for messages.

    Raises:
        TrainingDataError: the metadata's domain is no text.
    """
    part = metadata.get(_FIELD)
    if part is None or part == "":
        return name
    if not isinstance(part, str):
        raise TrainingDataError(f"{place}: metadata {_FIELD!r} is no text but {type(part).__name__}; give a name")
    return f"{name}/{part}" if name else part
