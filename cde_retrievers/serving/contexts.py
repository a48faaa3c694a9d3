"""The contexts that are served: those saved in a directory, as it is at every request."""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.persistence import HEADER_FILE
from cde_retrievers.errors import CDEError, ConfigurationError, ContextFileError

logger = logging.getLogger(__name__)

SIDES_BEGIN = ":"
"""Between the name of a context and "query" or "document"."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3  # to read a context that is replaced meanwhile
_Version = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory of a context: which version of it was read, and what that gave."""

    version: _Version
    found: CorpusContext | CDEError


class ContextDirectory:
    """The saved contexts in a directory, by the names of their directories (aliases) and by their fingerprints.

    Every call looks at what is there now: a context that was saved since is found, a removed one is not, and of a
    replaced one the new version is read. A `CorpusContext` that was handed out stays as it is. Safe to use from several
    threads.

    Args:
        path: the directory.
        check: raises ContextMismatchError for a context that cannot be served, as `ContextualEncoder.check_context`.

    Raises:
        ConfigurationError: it holds no context, or is itself one; or the name of one is not possible.
        ContextFileError: it cannot be listed, or one of its contexts is damaged.
        ContextMismatchError: one was fitted by another model.
    """

    def __init__(self, path: Path, check: Callable[[CorpusContext], None]) -> None:
        self._path = path
        self._check = check
        self._entries: dict[str, _Entry] = {}
        self._lock = Lock()
        refuse_empty(path)
        for entry in self._current().values():
            if isinstance(entry.found, CDEError):
                raise entry.found

    def all(self) -> dict[str, CorpusContext]:
        """Return the contexts that can be used, by alias, in order of these.

        Raises:
            ContextFileError: the directory cannot be listed.
        """
        found = {alias: entry.found for alias, entry in sorted(self._current().items())}
        return {alias: context for alias, context in found.items() if isinstance(context, CorpusContext)}

    def find(self, name: str) -> CorpusContext | None:
        """Return the context with that alias or fingerprint; None if there is none.

        Raises:
            ContextFileError: it is damaged, or the directory cannot be listed.
            ContextMismatchError: it was fitted by another model.
            ConfigurationError: its alias is not possible.
        """
        entries = self._current()
        if name in entries:
            found = entries[name].found
            if isinstance(found, CDEError):
                raise found
            return found
        contexts = (entry.found for entry in entries.values() if isinstance(entry.found, CorpusContext))
        return next((context for context in contexts if context.fingerprint == name), None)

    def _current(self) -> dict[str, _Entry]:
        with self._lock:
            self._entries = {
                alias: known
                if (known := self._entries.get(alias)) is not None and known.version == version
                else self._read(alias, version)
                for alias, version in _versions(self._path).items()
            }
            return self._entries

    def _read(self, alias: str, version: _Version) -> _Entry:
        folder = self._path / alias
        for _ in range(_ATTEMPTS):
            try:
                context = CorpusContext.load(folder)
                _check_alias(alias, context)
                self._check(context)
            except CDEError as error:
                now = _version_of(folder)
                if now in (None, version):
                    logger.warning("context %s cannot be served: %s", folder, error)
                    return _Entry(version, error)
                version = now or version
            else:
                return _Entry(version, context)
        return _Entry(version, ContextFileError(f"{folder} is being replaced again and again; try it later"))


def refuse_empty(path: Path) -> None:
    """Raise ConfigurationError unless there are contexts in the directory, whatever their state."""
    if _version_of(path) is not None:
        raise ConfigurationError(
            f"{path} is itself a context, but a directory of contexts is needed, since the name of each is its model's "
            f"name; give {path.parent}, or move it into a directory of its own"
        )
    if not _versions(path):
        raise ConfigurationError(
            f"{path} holds no context; write one there with `cde-retrievers fit SOURCE --out {path / 'NAME'}`"
        )


def _versions(path: Path) -> dict[str, _Version]:
    """Return the version of every context in a directory by its name; scratch directories begin with a dot."""
    try:
        names = [name for name in os.listdir(path) if not name.startswith(".")]
    except OSError as error:
        raise ContextFileError(
            f"{path} cannot be listed ({error.strerror}); give a directory in which contexts are saved"
        ) from error
    return {name: version for name in names if (version := _version_of(path / name)) is not None}


def _version_of(folder: Path) -> _Version | None:
    """Return what differs between any two versions of a saved context; None if the folder holds none."""
    try:
        status = os.stat(folder / HEADER_FILE)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _check_alias(alias: str, context: CorpusContext) -> None:
    if SIDES_BEGIN in alias:
        raise ConfigurationError(
            f"the directory of a context is named {alias!r}, but what follows {SIDES_BEGIN!r} in a model's name says "
            f"query or document; rename it"
        )
    if _FINGERPRINT.fullmatch(alias) and alias != context.fingerprint:
        raise ConfigurationError(
            f"the directory of a context is named as if {alias} were its fingerprint, which is {context.fingerprint}; "
            f"rename it"
        )
