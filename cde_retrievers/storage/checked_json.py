"""JSON files that carry a checksum of their own content, read strictly and within limits."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from cde_retrievers.errors import CDEError
from cde_retrievers.storage.hashing import sha256_of_json

_SEAL, _VERSION = "seal", "format_version"


def sealed(content: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
    """Return the content with its format version, if any, and a seal: a checksum over both."""
    whole = dict(content) if version is None else {**content, _VERSION: version}
    return {**whole, _SEAL: sha256_of_json(whole)}


def read_checksummed(
    path: Path, error: type[CDEError], remedy: str, version: int | tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Read the file at `path` and return the content that was given to `sealed`.

    Args:
        path: of the file.
        error: what to raise.
        remedy: the way out, as the end of a sentence.
        version: the version that was given to `sealed`, or those that can be read.

    Raises:
        FileNotFoundError: there is no such file.
        CDEError: it cannot be read, is damaged, was edited, or is of another version.
    """
    content = read_json(path, error, remedy)
    seal = content.pop(_SEAL, None) if isinstance(content, dict) else None
    if seal != sha256_of_json(content):
        raise error(f"{path} was edited: its content does not match its seal; {remedy}")
    found = content.pop(_VERSION, None)
    known = version if isinstance(version, tuple) else (version,)
    if found not in known:
        raise error(f"{path} has format version {found}, but this release reads {known[-1]}; update cde-retrievers")
    return dict(content)


# Python's parser and its writer fail at a depth that depends on how deep the caller already is.
_MAX_DEPTH = 100


def read_json(path: Path, error: type[CDEError], remedy: str) -> Any:
    """Return the value in the JSON file at `path`.

    Args:
        path: of the file.
        error: what to raise.
        remedy: the way out, as the end of a sentence.

    Raises:
        FileNotFoundError: there is no such file.
        CDEError: it is not a regular file, or is a broken link; it cannot be read, is not JSON, is nested too
            deeply, or holds a number that is not finite.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # false where pathlib raises, such as for a name too long
        raise error(f"{path} is not a regular file and was not read; {remedy}")
    if os.path.islink(path) and not os.path.exists(path):
        raise error(f"{path} is a broken link; {remedy}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
    except FileNotFoundError:
        raise
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror}); {remedy}") from reason
    except ValueError as reason:
        raise error(f"{path} is damaged: it is not valid JSON ({reason}); {remedy}") from reason
    except RecursionError:
        raise error(f"{path} is nested too deeply; {remedy}") from None
    if _depth(value) > _MAX_DEPTH:
        raise error(f"{path} is nested more than {_MAX_DEPTH} levels deep; {remedy}")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is not a finite number")
    return number


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [part for whole in level if isinstance(whole, dict | list) for part in _parts(whole)]
    return depth


def _parts(whole: dict[str, Any] | list[Any]) -> list[Any]:
    return list(whole.values()) if isinstance(whole, dict) else whole
