"""JSON files that notice any edit: they carry a hash over all that is in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cde_retrievers.errors import CDEError
from cde_retrievers.files import sha256_of_json

_SEAL, _VERSION = "seal", "format_version"


def sealed(content: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
    """The content with the version of its format, if that has one, and a seal over both, ready to be written."""
    whole = dict(content) if version is None else {**content, _VERSION: version}
    return {**whole, _SEAL: sha256_of_json(whole)}


def read_sealed(path: Path, error: type[CDEError], remedy: str, version: int | None = None) -> dict[str, Any]:
    """What was given to `sealed`, from the file at `path`.

    Args:
        path: of the file.
        error: what to raise.
        remedy: the way out, as the end of a sentence.
        version: as it was given to `sealed`.

    Raises:
        FileNotFoundError: there is no such file.
        CDEError: it is damaged, was edited, or is of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seal = content.pop(_SEAL, None) if isinstance(content, dict) else None
        expected = sha256_of_json(content)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} is damaged: it is no JSON ({reason}); {remedy}") from reason
    if seal != expected:
        raise error(f"{path} was edited: its content does not match its seal; {remedy}")
    found = content.pop(_VERSION, None)
    if found != version:
        raise error(f"{path} has format version {found}, this release reads {version}; update cde-retrievers")
    return dict(content)
