"""A file of a source, and opening it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO

from cde_retrievers.corpora.paths import refuse_special, unreadable


@dataclass(frozen=True, slots=True)
class File:
    """A file of a source.

    Attributes:
        path: where it is.
        name: its path relative to the source, with "/", so that ids are the same on every machine.
        on_hash: is given the SHA-256 of its content whenever it is opened, so that nothing has to open it again.
    """

    path: Path
    name: str
    on_hash: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it.

        Raises:
            CorpusFileError: it cannot be opened or hashed, or is a pipe, a socket or a device.
        """
        refuse_special(self.path)
        try:
            file = open(self.path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - closed below
        except OSError as error:
            raise unreadable(self.path, error) from error
        with file:
            if self.on_hash is not None:
                try:
                    self.on_hash(file_digest(file, "sha256").hexdigest())
                    file.seek(0)
                except OSError as error:
                    raise unreadable(self.path, error) from error
            yield file


def _open_without_waiting(path: str, flags: int) -> int:
    # What was a file when it was looked at may be a pipe now.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
