"""Text out of files, and in words why there is none."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from cde_retrievers.errors import CorpusFileError

_CHUNK_BYTES = 1 << 20


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """The file as text, unpacked if its name ends in .gz; line ends stay as they are, a byte order mark goes.

    Raises:
        CorpusFileError: it cannot be read, or is not in that encoding; names the byte.
    """
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig" if is_utf8 else encoding, newline="") as stream:
            yield cast(TextIO, stream)
    except UnicodeDecodeError as error:
        raise CorpusFileError(
            f"{path} is not {encoding} text: {_first_undecodable(path, encoding) or error.reason}; write it anew as "
            f"{encoding}, or name its encoding, such as latin-1, where there is a choice: encoding= (--encoding)"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CorpusFileError(
            f"{path} cannot be read: {reason}; change its permissions, or restore it from a copy"
        ) from error


def _first_undecodable(path: Path, encoding: str) -> str | None:
    """The first byte that the encoding does not allow, and where it is in the unpacked file."""
    decoder = codecs.getincrementaldecoder(encoding)()
    read, line = 0, 1
    with cast(BinaryIO, (gzip.open if path.suffix == ".gz" else open)(path, "rb")) as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # A character's first bytes may have waited in the decoder since the chunk before.
                begin = read + len(chunk) - len(error.object)
                line += error.object[: error.start].count(b"\n")
                return f"byte {begin + error.start} (in line {line}) is 0x{error.object[error.start]:02x}"
            if not chunk:
                return None
            read += len(chunk)
            line += chunk.count(b"\n")
