"""Documents that wait in a temporary file, so that any number of them takes little memory."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO
from weakref import finalize

from cde_retrievers.errors import WriteError
from cde_retrievers.retrieval.document import Document, from_line, to_line

_IN_MEMORY = 1 << 24  # bytes; what is more goes to the disk


class DocumentSpool:
    """Checked documents in the order they came, to be read any number of times; its file ends with it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with its owner
        finalize(self, self._file.close)
        self._documents = 0

    def __len__(self) -> int:
        return self._documents

    def __iter__(self) -> Iterator[Document]:
        self._file.seek(0)
        return map(from_line, self._file)

    def append(self, document: Document) -> None:
        """Put a document, with an id, behind the others; not while they are read.

        Raises:
            WriteError: there is no room for it.
        """
        try:
            self._file.write(to_line(document))
        except OSError as error:
            # Without its cause, which would be taken for an error of the index that is being written to.
            raise WriteError(
                f"cannot write to the temporary directory {gettempdir()}: {error.strerror}; free some space there, or "
                f"name another directory in the environment variable TMPDIR, and try again"
            ) from None
        self._documents += 1
