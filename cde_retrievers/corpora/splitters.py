"""Splitters of other libraries: LangChain's text splitters, LlamaIndex's node parsers, and plain functions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cde_retrievers.corpora.records import Record
from cde_retrievers.corpora.splitting import Part, as_documents
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.imports import imported
from cde_retrievers.validation.signatures import is_iterable

Split = Callable[[str], Iterable[Any]]


def checked_splitter(splitter: object) -> Split:
    """Return the function of a splitter that splits one text.

    Args:
        splitter: has `split_text`, as LangChain's text splitters, or `get_nodes_from_documents`, as LlamaIndex's node
            parsers; or is a function from a text to texts.

    Raises:
        ConfigurationError: it has neither and is not a function.
    """
    for name in ("split_text", "get_nodes_from_documents"):
        method = getattr(splitter, name, None)
        if callable(method):
            return method if name == "split_text" else _node_parser(method)
    if callable(splitter):
        return splitter
    raise ConfigurationError(
        f"splitter must split a text, found a {type(splitter).__name__}; give a text splitter of LangChain, a node "
        f"parser of LlamaIndex, or a function that returns a list of texts"
    )


def split_by(record: Record, split: Split) -> Iterator[Record]:
    """Yield the parts that a splitter makes of a record; a record without text stays as it is.

    Raises:
        ConfigurationError: the splitter returns something other than texts, documents or nodes.
    """
    text = record.document.text
    if not text.strip():
        return iter([record])
    found = split(text)
    if isinstance(found, str) or not is_iterable(found):
        raise ConfigurationError(
            f"the splitter must return a list of texts, found a {type(found).__name__}; give one that does"
        )
    return as_documents(record, [part for part in map(_part, found) if part.text.strip()])


def _node_parser(parse: Callable[[list[Any]], Iterable[Any]]) -> Split:
    schema = imported("llama_index.core.schema", "a node parser", extra="llama-index", package="llama-index-core")

    def split(text: str) -> Iterable[Any]:
        return parse([schema.Document(text=text)])

    return split


def _part(found: Any) -> Part:
    """Return a text, a document of LangChain or a node of LlamaIndex as a part, with its own metadata."""
    text = found if isinstance(found, str) else getattr(found, "page_content", getattr(found, "text", None))
    metadata = {} if isinstance(found, str) else getattr(found, "metadata", {})
    if not isinstance(text, str) or not isinstance(metadata, Mapping):
        raise ConfigurationError(
            f"the splitter must return texts, documents or nodes, found a {type(found).__name__}; give one that does"
        )
    return Part((), text, dict(metadata))
