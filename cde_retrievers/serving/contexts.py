"""The contexts that are served: those saved in a directory, as it is at every request."""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.persistence import HEADER_FILE, VECTORS_FILE
from cde_retrievers.errors import CDEError, ConfigurationError, ContextFileError
from cde_retrievers.storage.atomic import recovered_all

logger = logging.getLogger(__name__)

SIDES_BEGIN = ":"
"""Between the name of a context and "query" or "document"."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3  # to read a context that is replaced meanwhile
_PROBLEM_SECONDS = 1.0  # after which a context that cannot be served is read again; not every cause changes a file
_Version = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a context cannot be served."""

    kind: type[CDEError]
    message: str

    def error(self) -> CDEError:
        """Return a new error: one that was raised keeps what it went through, the bodies of requests too."""
        return self.kind(self.message)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory of a context: which version of it was read, what that gave, and when."""

    version: _Version
    found: CorpusContext | _Problem
    read_at: float = field(default_factory=time.monotonic)

    def is_current(self, version: _Version) -> bool:
        """Whether reading that version now would give the same."""
        is_fresh = isinstance(self.found, CorpusContext) or time.monotonic() < self.read_at + _PROBLEM_SECONDS
        return self.version == version and is_fresh


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
        self._is_listed = True
        self._lock = Lock()
        refuse_empty(path)
        for entry in self._current().values():
            if isinstance(entry.found, _Problem):
                raise entry.found.error()

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
        found = entries[name].found if name in entries else None
        if isinstance(found, CorpusContext):
            return found
        for entry in entries.values():
            if isinstance(entry.found, CorpusContext) and entry.found.fingerprint == name:
                return entry.found
        if found is not None:
            raise found.error()
        return None

    def _current(self) -> dict[str, _Entry]:
        with self._lock:
            known = self._entries
            self._entries = {
                alias: entry
                if (entry := known.get(alias)) is not None and entry.is_current(version)
                else self._read(alias, version)
                for alias, version in self._listed().items()
            }
            return self._entries

    def _listed(self) -> dict[str, _Version]:
        try:
            versions = _versions(self._path)
        except ContextFileError as error:
            if self._is_listed:
                logger.warning("no context can be served: %s", error)
            self._is_listed = False
            raise
        self._is_listed = True
        return versions

    def _read(self, alias: str, version: _Version) -> _Entry:
        folder, before = self._path / alias, self._entries.get(alias)
        for _ in range(_ATTEMPTS):
            try:
                context = CorpusContext.load(folder)
                _check_alias(alias, context)
                self._check(context)
            except CDEError as error:
                now = _version_of(folder)
                if now is None or now == version:
                    problem = _Problem(type(error), str(error))
                    if before is None or before.found != problem:
                        logger.warning("context %a cannot be served: %s", alias, _in_one_line(problem.message))
                    return _Entry(version, problem)
                version = now
            else:
                return _Entry(version, context)
        return _Entry(version, _Problem(ContextFileError, f"{folder} is being replaced again and again; try it later"))


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
        names = [name for name in os.listdir(recovered_all(path)) if not name.startswith(".")]
    except OSError as error:
        raise ContextFileError(
            f"{path} cannot be listed ({error.strerror}); give a directory in which contexts are saved"
        ) from error
    return {name: version for name in names if (version := _version_of(path / name)) is not None}


def _version_of(folder: Path) -> _Version | None:
    """Return what differs between any two versions of a saved context; None if the folder holds none."""
    header = _state_of(folder / HEADER_FILE)
    return None if header is None else (header, _state_of(folder / VECTORS_FILE))


def _state_of(file: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode


def _in_one_line(message: str) -> str:
    """A message as it is, but for characters that begin another line of a log."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in message)


def _check_alias(alias: str, context: CorpusContext) -> None:
    if not alias.isprintable():
        raise ConfigurationError(
            f"the directory of a context is named {alias!a}, which cannot be shown as a model's name; rename it"
        )
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
