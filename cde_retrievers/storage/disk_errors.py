"""Disk errors as readable messages."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from cde_retrievers.errors import CDEError, WriteError
from cde_retrievers.storage.scratch import is_scratch

_REASONS = {
    errno.ENOSPC: "there is no space left on the device; free some",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EFBIG: "files may not be that large there; raise the limit (ulimit -f), or use another place",
    errno.EROFS: "the file system is read-only; use a place that can be written to",
    errno.EACCES: "you may not write there; change the permissions, or use a place where you may",
    errno.EPERM: "you may not write there; change the permissions, or use a place where you may",
}
# Disk errors only if they name the path: files that are read meanwhile raise them too.
_REASONS_OF_PATHS = {
    errno.EIO: "the device reported an error; check its health, or use another one",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
    errno.ELOOP: "symbolic links lead in a circle there; remove them",
    errno.ENOTDIR: "a part of the path is a file; use another place",
    errno.EBUSY: "it is in use, for example as a mount point; give a new directory inside it",
    errno.EXDEV: "a directory there cannot be renamed, as in an image layer of a container; use another place",
}
_OF_RUST = re.compile(r"\(os error (\d+)\)")
_OF_FAISS = re.compile(r"faiss::.*(?:write error in .*\((.+)\)|could not open .* for writing: (.+))$", re.DOTALL)
_NUMBERS_BY_WORDS = {os.strerror(number): number for number in _REASONS}


@contextmanager
def disk_errors_explained(path: Path, state: str) -> Iterator[None]:
    """Turn an error of writing to `path` into a WriteError; errors about other files pass unchanged.

    If nested, the outermost decides the message, since it knows best what is still true.

    Args:
        path: the path that is written to.
        state: what is still true of it, as the end of a sentence.
    """
    try:
        yield
    except WriteError as error:
        if not isinstance(error.__cause__, Exception):
            raise
        raise (_explained(path, state, error.__cause__) or error) from error.__cause__
    except CDEError:
        raise
    except Exception as error:
        explained = _explained(path, state, error)
        if explained is None:
            raise
        raise explained from error


def _explained(path: Path, state: str, error: Exception) -> WriteError | None:
    reason = _reason(path, error)
    return None if reason is None else WriteError(f"cannot write to {path}: {reason}, and try again; {state}")


def _reason(path: Path, error: Exception) -> str | None:
    if not isinstance(error, OSError):
        return _REASONS.get(_number_in_words(error))
    number = error.errno or 0
    named = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    if not named:
        return _REASONS.get(number)
    if not any(_concerns(path, name) for name in named):
        return None
    if number == errno.ENOENT and not path.exists():  # as everywhere in /proc
        return "no directory can be made there; use another place"
    return (_REASONS | _REASONS_OF_PATHS).get(number)


def _number_in_words(error: Exception) -> int:
    """Return the errno that a library's own exception contains as text; 0 if there is none."""
    if isinstance(error, SafetensorError) or type(error) is Exception:  # tokenizers raises the latter
        found = _OF_RUST.search(str(error))
        return int(found[1]) if found else 0
    found = _OF_FAISS.search(str(error)) if isinstance(error, RuntimeError) else None
    return _NUMBERS_BY_WORDS.get(found[1] or found[2], 0) if found else 0


def _concerns(path: Path, found: Path) -> bool:
    """Whether an error about `found` concerns writing to `path`, not a source of documents that may not be read."""
    found, home = _absolute(found), _absolute(path)
    if found.is_relative_to(home) or home.is_relative_to(found):
        return True
    return found.is_relative_to(home.parent) and is_scratch(home.parent / found.relative_to(home.parent).parts[0])


def _absolute(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a circle of symbolic links
        return Path(os.path.abspath(path))
