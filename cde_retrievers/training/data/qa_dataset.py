"""Pairs from LlamaIndex's `EmbeddingQAFinetuneDataset`, as a JSON file or as the object, without importing it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cde_retrievers.corpora.decoding import parse_json, read_text
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.training.data.pairs import Pair, check_pair

_PARTS = ("queries", "corpus", "relevant_docs")
_MODE = "mode"
_MOST_CHARACTERS = 1 << 30  # the whole data set is one value


@runtime_checkable
class QADataset(Protocol):
    """The interface of `EmbeddingQAFinetuneDataset`."""

    @property
    def queries(self) -> Mapping[str, str]:
        """Text by id."""

    @property
    def corpus(self) -> Mapping[str, str]:
        """Text by id."""

    @property
    def relevant_docs(self) -> Mapping[str, list[str]]:
        """Ids of documents by id of the query that they answer."""


def qa_file_pairs(path: Path, domain: str) -> Iterator[Pair]:
    """The pairs of a saved data set.

    Raises:
        TrainingDataError: the file is not JSON, has another layout, or refers to missing ids.
        CorpusFileError: the file cannot be read or decoded, or is too long.
    """
    try:
        content = parse_json(read_text(path, "utf-8", _MOST_CHARACTERS))
    except ValueError as error:
        raise TrainingDataError(
            f"{path} is not valid JSON: {error}; if it has one object per line, name it .jsonl"
        ) from error
    if not isinstance(content, dict) or not set(_PARTS) <= set(content):
        found = sorted(content) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise TrainingDataError(
            f"{path} must hold {', '.join(_PARTS)}, as EmbeddingQAFinetuneDataset.save_json writes them, found "
            f"{str(found)[:200]}; write other pairs as .jsonl, one per line"
        )
    return _pairs({name: content.get(name) for name in (*_PARTS, _MODE)}, str(path), domain)


def qa_object_pairs(dataset: QADataset, domain: str) -> Iterator[Pair]:
    """The pairs of a data set object.

    Raises:
        TrainingDataError: it refers to missing ids, or has another layout.
    """
    parts = {name: getattr(dataset, name, None) for name in (*_PARTS, _MODE)}
    return _pairs(parts, type(dataset).__name__, domain)


def _pairs(parts: Mapping[str, Any], source: str, domain: str) -> Iterator[Pair]:
    """A pair for every relevant document of every query."""
    _check_parts(parts, source)
    queries, corpus, relevant = (parts[name] for name in _PARTS)
    surplus = sorted(set(relevant) - set(queries))
    if surplus:
        raise TrainingDataError(
            f"{source}: relevant_docs names query {surplus[0]!r}, which queries does not have; remove it"
        )
    for query, text in queries.items():
        place = f"{source}, query {query!r}"
        answers = relevant.get(query)
        if not isinstance(answers, list | tuple) or not answers:
            raise TrainingDataError(
                f"{place} must have a list of relevant documents, found {answers!r}; name at least one, or leave the "
                f"query out"
            )
        for answer in answers:
            if answer not in corpus:
                raise TrainingDataError(f"{place}: document {answer!r} is not in the corpus; add it")
            pair = Pair(text, corpus[answer], (), domain)
            check_pair(pair, place)
            yield pair


def _check_parts(parts: Mapping[str, Any], source: str) -> None:
    for name in _PARTS:
        if not isinstance(parts[name], Mapping):
            raise TrainingDataError(
                f"{source}: {name} must be a mapping by id, found a {type(parts[name]).__name__}; give it as one"
            )
    if parts[_MODE] not in (None, "text"):
        raise TrainingDataError(f"{source} is of mode {parts[_MODE]!r}; this library embeds texts, give mode 'text'")
