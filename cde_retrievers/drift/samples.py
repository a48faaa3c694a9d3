"""The two samples that drift compares: of a corpus, and of new texts that are not in it."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.selection import draw_candidates
from cde_retrievers.drift.two_sample import SMALLEST_SAMPLE
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, SampleTooSmallError
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings

_UNIFORM = "random"


@runtime_checkable
class IndexedCorpus(Protocol):
    """The interface of an index for `measure`: its context, embedder and texts."""

    @property
    def context(self) -> CorpusContext:
        """The context under which the documents are embedded."""

    @property
    def embedder(self) -> Embedder:
        """The embedder of the documents."""

    def texts(self) -> Iterable[str]:
        """Yield the texts of all documents."""


@dataclass(frozen=True, slots=True)
class CorpusSample:
    """A uniform sample of the distinct documents of a corpus.

    Attributes:
        digests: SHA-256 of each.
        texts: the texts, if they are not embedded yet.
        vectors: their first-stage vectors (n, width), if known.
    """

    digests: frozenset[str]
    texts: list[str]
    vectors: Embeddings | None


def sample_of_corpus(reference: object, context: CorpusContext, size: int, seed: int) -> CorpusSample:
    """Return the context's documents if they are a uniform sample, else `size` documents drawn from the index.

    Raises:
        ConfigurationError: they are not, and `reference` is not an index.
        SampleTooSmallError: there are too few documents.
    """
    found = _of_context(context) if context.strategy == _UNIFORM else _of_index(reference, context, size, seed)
    if len(found.digests) < SMALLEST_SAMPLE:
        raise SampleTooSmallError(
            f"at least {SMALLEST_SAMPLE} distinct documents of the corpus are needed to compare with, found "
            f"{len(found.digests)}; fit the context on more documents, or with a larger size"
        )
    return found


def _of_context(context: CorpusContext) -> CorpusSample:
    # A corpus smaller than the context fills it by repetition, every distinct document first.
    return CorpusSample(frozenset(context.documents), [], context.vectors[: context.distinct])


def _of_index(reference: object, context: CorpusContext, size: int, seed: int) -> CorpusSample:
    if not isinstance(reference, IndexedCorpus):
        raise ConfigurationError(
            f"the documents of a context of strategy {context.strategy!r} are not a fair sample of a corpus, so there "
            f"is nothing to compare with; give the index instead of the context: texts are drawn from it"
        )
    texts = draw_candidates(reference.texts(), size, seed).texts
    return CorpusSample(frozenset(map(_digest, texts)), texts, None)


def known_digests(reference: object, context: CorpusContext) -> frozenset[str]:
    """Return the SHA-256 of the texts that are known to be of the corpus that the context was fitted on.

    Those are its own documents, and of an index that it was fitted on the first `corpus_size` ones: what was added
    later stands behind them.
    """
    own = frozenset(context.documents)
    if not isinstance(reference, IndexedCorpus):
        return own
    first = frozenset(_digest(text) for text in islice(reference.texts(), context.corpus_size))
    # A context can come from elsewhere, and its documents can all have been replaced.
    is_fitted_here = 2 * len(own & first) > len(own)
    return own | first if is_fitted_here else own


class Unknown:
    """Texts without those whose digest is known; `left_out` counts the latter once the texts were read."""

    def __init__(self, texts: Iterable[str], known: frozenset[str]) -> None:
        self._texts = texts
        self._known = known
        self.left_out = 0

    def __iter__(self) -> Iterator[str]:
        for text in checked_texts(self._texts):
            if _digest(text) in self._known:
                self.left_out += 1
            else:
                yield text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
