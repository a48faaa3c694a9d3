"""The context of a corpus: an immutable value that travels with the index and records how it was made."""

import hashlib
import operator
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from cde_retrievers.context.persistence import (
    HEADER_FILE,
    REMEDY,
    TERM_FREQUENCIES,
    TERM_NUMBERS,
    TERMS,
    read_context,
    write_context,
)
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.sparse import TermStatistics
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.numbers import is_whole
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import Vectors, checked_vectors

_SHORT = 12


def _as_int(value: object) -> object:
    return operator.index(value) if is_whole(value) else value


def _frozen(vectors: Vectors) -> Vectors:
    copy = np.array(vectors, dtype=np.float32)
    copy.setflags(write=False)
    return copy


def _frozen_matrix(vectors: object) -> Vectors:
    return _frozen(checked_vectors(vectors, None, None, ConfigurationError))


def _frozen_vector(vector: object) -> Vectors | None:
    return None if vector is None else _frozen(checked_vectors([vector], 1, None, ConfigurationError)[0])


def _checked_statistics(value: object) -> TermStatistics | None:
    if value is not None and not isinstance(value, TermStatistics):
        raise ConfigurationError(f"terms must be TermStatistics, found {type(value).__name__}; leave them out")
    return value


Text = Annotated[str, Field(strict=True)]
# NumPy's numbers become Python's own; 64 bits are what files and numpy can hold.
Whole = Annotated[int, BeforeValidator(_as_int), Field(strict=True, ge=-(1 << 63), lt=1 << 63)]
Count = Annotated[Whole, Field(ge=0)]
Matrix = Annotated[Vectors, PlainValidator(_frozen_matrix)]
Vector = Annotated[Vectors, PlainValidator(_frozen_vector)]
Statistics = Annotated[TermStatistics | None, PlainValidator(_checked_statistics)]


@dataclass(frozen=True, eq=False, repr=False, config=ConfigDict(extra="forbid", protected_namespaces=()))
class CorpusContext:
    """Context vectors of a corpus, in a fixed order. Two contexts are equal if their fingerprints are.

    Attributes:
        vectors: first-stage vectors (N, width), float32, not normalised, read-only.
        model_name: the name or path that the encoder was loaded from; informative only.
        model_fingerprint: identity of the model, its prompts and its tokenizer.
        documents: SHA-256 of each context document.
        positions: position of each in the corpus.
        distinct: number of distinct documents; a small corpus is repeated to fill the context.
        corpus_size: number of texts in the corpus.
        strategy: how the documents were chosen; "generic" for the texts that ship with the package.
        seed: seed of that choice.
        probe: unit vector (width,) that the model gave a fixed text when the context was fitted, for models
            identified by name alone, such as a service's; None if the fingerprint is computed from the weights.
        terms: term statistics of the context documents, for sparse vectors; None in a context that an earlier release
            saved, and in one without documents.
        fingerprint: SHA-256 over everything that an embedding under this context depends on, except number format and
            device: an index built on a GPU can be searched on a laptop.
        checksum: SHA-256 of the vectors.

    Raises:
        ConfigurationError: a value has another type, or the numbers of vectors, documents and positions differ.
    """

    # These annotations are the checks of the constructor, and these fields the contents of the files: arrays as
    # tensors, all others as JSON. A new one needs a default, so that contexts saved before it can be read.
    vectors: Matrix
    model_name: Text
    model_fingerprint: Text
    documents: tuple[Text, ...]
    positions: tuple[Count, ...]
    distinct: Count
    corpus_size: Count
    strategy: Text
    seed: Whole
    probe: Vector | None = None
    terms: Statistics = None
    fingerprint: str = field(init=False)
    checksum: str = field(init=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise ConfigurationError(f"this makes no context: {readable(error.errors())}; change it") from error

    def __post_init__(self) -> None:
        lengths = {len(self.documents), len(self.positions)}
        # A context of null vectors is made of no documents.
        if lengths != {len(self.vectors)} and (lengths, self.distinct) != ({0}, 0):
            raise ConfigurationError(
                f"this makes no context: it has {len(self.vectors)} vectors, {len(self.documents)} documents and "
                f"{len(self.positions)} positions; give as many of each"
            )
        if self.probe is not None:
            checked_vectors([self.probe], 1, self.vectors.shape[1], ConfigurationError)
        identity = [self.model_fingerprint, list(self.documents), self.strategy, self.seed]
        identity += [] if self.probe is None else [_sha256(self.probe)]
        identity += [] if self.terms is None else [self.terms.fingerprint]
        object.__setattr__(self, "fingerprint", sha256_of_json(identity))
        object.__setattr__(self, "checksum", _sha256(self.vectors))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CorpusContext) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return (
            f"CorpusContext({len(self)} documents, {self.distinct} distinct, of {self.corpus_size}; "
            f"model={self.model_name!r}, strategy={self.strategy!r}, seed={self.seed}, "
            f"fingerprint={self.fingerprint[:_SHORT]})"
        )

    def check_model(self, fingerprint: str, name: str) -> None:
        """Raise ContextMismatchError unless this context was fitted by the model with that fingerprint."""
        if self.model_fingerprint != fingerprint:
            raise ContextMismatchError(
                f"this context was fitted by model {self.model_name!r} ({self.model_fingerprint[:_SHORT]}), "
                f"but the encoder is {name!r} ({fingerprint[:_SHORT]}); load the model that fitted the context, "
                f"with the same settings, or call fit_context() with this one and embed the corpus again"
            )

    def term_statistics(self) -> TermStatistics:
        """Return the term statistics.

        Raises:
            ContextMismatchError: the context carries none.
        """
        if self.terms is None:
            raise ContextMismatchError(
                f"context {self.fingerprint[:_SHORT]} carries no term statistics, which sparse vectors need: it was "
                f"saved by an earlier release, or made without documents; fit a context with this release and embed "
                f"the corpus again"
            )
        return self.terms

    @validated
    def save(self, path: str | Path) -> None:
        """Write the context into the directory `path`, whole or not at all; an older one there is replaced.

        Raises:
            PathInUseError: `path` is a file, or a directory with other files in it.
            WriteError: the disk is full, or `path` cannot be written to.
        """
        values = self._values()
        if self.terms is not None:
            settings = self.terms.settings()
            values |= {TERMS: settings, TERM_NUMBERS: self.terms.terms, TERM_FREQUENCIES: self.terms.frequencies}
        write_context(path, self.fingerprint, values)

    @classmethod
    @validated
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ContextFileError: a file is missing, damaged, or was edited; the message says which and how.
        """
        fingerprint, values = read_context(path)
        try:
            context = cls(**_with_statistics(values))
        except ConfigurationError as error:
            raise ContextFileError(f"{Path(path) / HEADER_FILE} is not a valid context: {error}; {REMEDY}") from error
        if context.fingerprint != fingerprint:
            raise ContextFileError(
                f"{path} states fingerprint {fingerprint}, but its content has {context.fingerprint}; "
                f"load it with the release of cde-retrievers that saved it, or fit the context again"
            )
        return context

    def _values(self) -> dict[str, Any]:
        """The arguments that make this context again."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def __reduce__(self) -> tuple[type["CorpusContext"], tuple[Any, ...]]:
        # Copies and pickles go through the constructor, so that their vectors are read-only too.
        return type(self), tuple(self._values().values())


def _with_statistics(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a file with term statistics in place of their parts."""
    parts = {TERMS, TERM_NUMBERS, TERM_FREQUENCIES}
    found = parts & values.keys()
    if not found:
        return values
    if found != parts:
        raise ConfigurationError(f"of {sorted(parts)} there is only {sorted(found)}")
    statistics = TermStatistics.from_settings(values[TERMS], values[TERM_NUMBERS], values[TERM_FREQUENCIES])
    return {**{name: value for name, value in values.items() if name not in parts}, TERMS: statistics}


def _sha256(vectors: Vectors) -> str:
    return hashlib.sha256(vectors.tobytes()).hexdigest()


def checked_context(context: object) -> CorpusContext:
    """Return `context`, or raise ConfigurationError if it is not a CorpusContext."""
    if not isinstance(context, CorpusContext):
        raise ConfigurationError(
            f"a CorpusContext is needed, found {type(context).__name__}; make one with fit_context(documents)"
        )
    return context
