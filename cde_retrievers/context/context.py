"""The context of a corpus: an immutable value that travels with the index and records how it was made."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from cde_retrievers.context.persistence import ContextHeader, StoredContext, read_context, write_context
from cde_retrievers.errors import ConfigurationError, ContextFileError, ContextMismatchError
from cde_retrievers.sparse.term_statistics import TermStatistics
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import checked_vectors

_SHORT = 12


@dataclass(frozen=True, eq=False, repr=False)
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

    vectors: NDArray[np.float32]
    model_name: str
    model_fingerprint: str
    documents: Sequence[str]
    positions: Sequence[int]
    distinct: int
    corpus_size: int
    strategy: str
    seed: int
    probe: NDArray[np.float32] | None = None
    terms: TermStatistics | None = None
    fingerprint: str = field(init=False)
    checksum: str = field(init=False)

    def __post_init__(self) -> None:
        vectors = _frozen(checked_vectors(self.vectors, None, None, ConfigurationError))
        probe = self.probe
        if probe is not None:
            probe = _frozen(checked_vectors([probe], 1, vectors.shape[1], ConfigurationError)[0])
        header = self._header()
        lengths = {len(header.documents), len(header.positions)}
        # A context of null vectors is made of no documents.
        if lengths != {len(vectors)} and (lengths, header.distinct) != ({0}, 0):
            raise ConfigurationError(
                f"this makes no context: it has {len(vectors)} vectors, {len(header.documents)} documents and "
                f"{len(header.positions)} positions; give as many of each"
            )
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "probe", probe)
        for name in ContextHeader.model_fields:  # NumPy's numbers and lists have become Python's own
            object.__setattr__(self, name, getattr(header, name))
        identity = [self.model_fingerprint, list(self.documents), self.strategy, self.seed]
        identity += [] if probe is None else [_sha256(probe)]
        identity += [] if self.terms is None else [self.terms.fingerprint]
        object.__setattr__(self, "fingerprint", sha256_of_json(identity))
        object.__setattr__(self, "checksum", _sha256(vectors))

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
                f"or call fit_context() with this one and embed the corpus again"
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
        write_context(path, StoredContext(self._header(), self.fingerprint, self.vectors, self.probe, self.terms))

    @classmethod
    @validated
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ContextFileError: a file is missing, damaged, or was edited; the message says which and how.
        """
        stored = read_context(path)
        context = cls(vectors=stored.vectors, probe=stored.probe, terms=stored.terms, **stored.header.model_dump())
        if context.fingerprint != stored.fingerprint:
            raise ContextFileError(
                f"{path} states fingerprint {stored.fingerprint}, but its content has {context.fingerprint}; "
                f"load it with the release of cde-retrievers that saved it, or fit the context again"
            )
        return context

    def _header(self) -> ContextHeader:
        """What is written of it beside vectors.

        Raises:
            ConfigurationError: some of it is of another type.
        """
        values = {name: getattr(self, name) for name in ContextHeader.model_fields}
        try:
            return ContextHeader(**values)
        except ValidationError as error:
            raise ConfigurationError(f"this makes no context: {readable(error.errors())}; change it") from error

    def __reduce__(self) -> tuple[type["CorpusContext"], tuple[Any, ...]]:
        # Copies and pickles go through the constructor, so that their vectors are read-only too.
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)


def _frozen(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    copy = np.array(vectors, dtype=np.float32)
    copy.setflags(write=False)
    return copy


def _sha256(vectors: NDArray[np.float32]) -> str:
    return hashlib.sha256(vectors.tobytes()).hexdigest()


def checked_context(context: object) -> CorpusContext:
    """Return `context`, or raise ConfigurationError if it is not a CorpusContext."""
    if not isinstance(context, CorpusContext):
        raise ConfigurationError(
            f"a CorpusContext is needed, found {type(context).__name__}; make one with fit_context(documents)"
        )
    return context
