"""What counts as a text, checked one by one as a stream passes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from cde_retrievers.errors import InvalidTextError, shown

Item = TypeVar("Item")


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts one by one, or raise at the first thing that is none.

    Raises:
        InvalidTextError: `texts` is no collection, or an item is no string or not valid Unicode.
    """
    check_collection(texts)
    for position, text in enumerate(texts):
        yield checked_text(text, position)


def read_texts(items: Iterable[Item], read: Callable[[Item], str]) -> Iterator[str]:
    """The text of every item, for collections of a framework's documents.

    Raises:
        InvalidTextError: `items` is no collection.
    """
    check_collection(items)
    return map(read, items)


def check_collection(items: object) -> None:
    """Raise InvalidTextError unless these can be several texts or documents."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise InvalidTextError(
            f"a collection of texts is expected, found {type(items).__name__}; put a single text into a list: [text]"
        )


def checked_text(text: object, position: int) -> str:
    """The text, or an error that says where in the collection it stands.

    Raises:
        InvalidTextError: it is no string or not valid Unicode.
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
