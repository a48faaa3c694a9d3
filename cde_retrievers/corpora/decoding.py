"""Decode bytes to text, with a limit on length, and text to JSON values, with a limit on depth."""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO, cast

from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.paths import unreadable
from cde_retrievers.errors import CorpusFileError

_CHUNK_BYTES = _CHUNK_CHARACTERS = 1 << 20
MAX_CHARACTERS = 1 << 26
_DAMAGES = (OSError, EOFError, zlib.error)


@contextmanager
def open_text(source: Path | File, encoding: str) -> Iterator[TextIO]:
    """Open the file as text, unpacked if its name ends in .gz. Line ends stay; a byte order mark is removed.

    Raises:
        CorpusFileError: it cannot be read, is not a file, or is not in that encoding; names the byte.
    """
    file = source if isinstance(source, File) else File(source, source.name)
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    try:
        with (
            _unpacked(file) as content,
            TextIOWrapper(content, encoding="utf-8-sig" if is_utf8 else encoding, newline="") as stream,
        ):
            yield stream
    except UnicodeError as error:
        reason = _first_undecodable(file, encoding) or getattr(error, "reason", None) or str(error)
        raise CorpusFileError(
            f"{file.path} is not {encoding} text: {reason}; convert it to {encoding}, or, where the option exists, "
            f"name its encoding, such as latin-1, with encoding= (--encoding), or leave such files out with "
            f"skip_errors=True (--skip-errors)"
        ) from error
    except _DAMAGES as error:
        raise unreadable(file.path, error) from error


def read_text(source: Path | File, encoding: str, limit: int = MAX_CHARACTERS) -> str:
    """Return all of a file, as `open_text` reads it.

    Raises:
        CorpusFileError: as `open_text`; or it has more characters than `limit`.
    """
    parts, left = [], limit
    with open_text(source, encoding) as stream:
        # Piece by piece, since a stream allocates the whole requested size at once.
        while part := stream.read(_CHUNK_CHARACTERS):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise too_long(str(source.path if isinstance(source, File) else source), limit)
    return "".join(parts)


class Lines(Iterator[str]):
    """The lines of a file, read with at most one record's characters in memory.

    Args:
        stream: of the file.
        path: of the file, for messages.
        limit: characters of a record; from the first line on, and from each call of `begin_record`.

    Attributes:
        number: of the line that was read last, counted from 1.
    """

    def __init__(self, stream: TextIO, path: Path, limit: int) -> None:
        self._stream = stream
        self._path = path
        self._limit = self._left = limit
        self.number = 0

    def begin_record(self) -> None:
        """Start the count towards the limit again; earlier lines are no longer in memory."""
        self._left = self._limit

    def __next__(self) -> str:
        """Return the next line, with its end.

        Raises:
            CorpusFileError: the record is longer than it may be.
        """
        line = self._stream.readline(self._left + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > self._left:
            raise too_long(f"{self._path}:{self.number}", self._limit)
        self._left -= len(line)
        return line


def too_long(place: str, limit: int) -> CorpusFileError:
    """Return the error that names the limit and how to raise it."""
    return CorpusFileError(
        f"{place} is longer than {limit:,} characters; split it, or, where the option exists, raise the limit with "
        f"max_characters= (--max-characters)"
    )


@contextmanager
def _unpacked(file: File) -> Iterator[BinaryIO]:
    with file.opened() as content:
        if file.path.suffix.lower() != ".gz":
            yield content
            return
        with gzip.open(content) as unpacked:
            yield cast(BinaryIO, unpacked)


def _first_undecodable(file: File, encoding: str) -> str | None:
    """Return the first byte that the encoding does not allow and its place when unpacked; None if there is none."""
    decoder = codecs.getincrementaldecoder(encoding)()
    read, line = 0, 1
    try:
        with _unpacked(file) as content:
            while chunk := content.read(_CHUNK_BYTES):
                decoder.decode(chunk)
                read += len(chunk)
                line += chunk.count(b"\n")
            decoder.decode(chunk, final=True)
    except UnicodeDecodeError as error:
        # A character's first bytes may have waited in the decoder since the chunk before.
        begin = read + len(chunk) - len(error.object)
        line += error.object[: error.start].count(b"\n")
        return f"byte {begin + error.start} (in line {line}) is 0x{error.object[error.start]:02x}"
    except (UnicodeError, CorpusFileError, *_DAMAGES):
        return None
    return None


MAX_DEPTH = 100


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, has NaN, an infinity or a key twice, a number is too long, or values are nested too
            deeply.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except RecursionError:  # raised at another depth by each version of Python
        _refuse_depth()
    # Without that many brackets it cannot be too deep, which spares most texts a second look.
    if text.count("[") + text.count("{") > MAX_DEPTH and isinstance(value, dict | list):
        _check_depth(value)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        # Level by level, since a walk that calls itself would need the depth that it is to refuse.
        inner = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    _refuse_depth()


def _refuse_depth() -> NoReturn:
    raise ValueError(f"its values are nested more than {MAX_DEPTH} levels deep")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
