"""Checks of texts, one by one as a stream passes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeVar

from cde_retrievers.errors import InvalidTextError, shown
from cde_retrievers.validation.signatures import is_iterable

Item = TypeVar("Item")
Role = Literal["document", "query"]
"""What a text is embedded as: a text has one vector as a document and another as a query."""


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts one by one, and raise at the first item that is not a text.

    Raises:
        InvalidTextError: `texts` is not a collection, or an item is not a string of valid Unicode.
    """
    check_collection(texts)
    for position, text in enumerate(texts):
        yield checked_text(text, position)


def read_texts(items: Iterable[Item], read: Callable[[Item], str]) -> Iterator[str]:
    """Yield the text of every item of a collection, such as a framework's documents.

    Raises:
        InvalidTextError: `items` is not a collection.
    """
    check_collection(items)
    return map(read, items)


def check_collection(items: object) -> None:
    """Raise InvalidTextError unless `items` can hold several texts or documents."""
    if isinstance(items, str | bytes | Mapping) or not is_iterable(items):
        raise InvalidTextError(
            f"a collection of texts is expected, found {type(items).__name__}; put a single text into a list: [text]"
        )


def checked_text(text: object, position: int) -> str:
    """Return the text, or raise an error that names its position in the collection.

    Raises:
        InvalidTextError: it is not a string of valid Unicode.
    """
    if not isinstance(text, str):
        raise InvalidTextError(
            f"text {position} must be a string, found {type(text).__name__}: {shown(text)}; "
            f"decode bytes, flatten lists and drop missing values first"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"text {position} is not valid Unicode: lone surrogate {text[error.start]!r} at character "
            f"{error.start}; repair it with text.encode('utf-8', 'replace').decode()"
        ) from error
    return text
