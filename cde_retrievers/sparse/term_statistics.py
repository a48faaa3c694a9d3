"""Term statistics of a corpus, estimated from the documents of a context: document frequencies and mean length."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.sparse.analyzer import TERM_LIMIT, Analyzer
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.problems import readable

Terms = NDArray[np.int32]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    language: str | None
    analyzer: str
    documents: int
    mean_length: float
    k1: float
    b: float


@dataclass(frozen=True, eq=False, repr=False)
class TermStatistics:
    """Document frequencies and mean length of a sample of documents, and how BM25 uses them. Axis: T terms.

    Attributes:
        language: language of the analyzer.
        analyzer: identity of the analyzer that counted.
        documents: number of documents counted.
        mean_length: mean number of terms in a document.
        terms: terms (T,) int32, ascending, read-only.
        frequencies: number of documents (T,) int32 that contain each, read-only.
        k1: BM25's saturation: a small one makes further occurrences of a term count little.
        b: BM25's length normalisation, from 0 for none to 1.
        fingerprint: SHA-256 over all of these.

    Raises:
        ConfigurationError: the values contradict each other.
    """

    language: str | None
    analyzer: str
    documents: int
    mean_length: float
    terms: Terms
    frequencies: Terms
    k1: float = 0.9
    b: float = 0.75
    fingerprint: str = field(init=False)

    @classmethod
    def of(cls, texts: Iterable[str], analyzer: Analyzer) -> "TermStatistics":
        """Count the terms of documents."""
        counts: Counter[int] = Counter()
        documents = length = 0
        for text in texts:
            terms = analyzer.terms(text)
            counts.update(set(terms))
            length += len(terms)
            documents += 1
        known = np.array(sorted(counts), dtype=np.int32)
        frequencies = np.array([counts[int(term)] for term in known], dtype=np.int32)
        return cls(analyzer.language, analyzer.identity, documents, length / max(1, documents), known, frequencies)

    @classmethod
    def from_settings(cls, settings: object, terms: Terms, frequencies: Terms) -> "TermStatistics":
        """Return statistics from what `settings` gave and both arrays.

        Raises:
            ConfigurationError: the values have other types, or contradict each other.
        """
        try:
            known = _Settings.model_validate(settings)
        except ValidationError as error:
            raise ConfigurationError(f"these are not term statistics: {readable(error.errors())}") from error
        return cls(**known.model_dump(), terms=terms, frequencies=frequencies)

    def settings(self) -> dict[str, object]:
        """Return all that is not an array, as values of JSON."""
        return {name: getattr(self, name) for name in _Settings.model_fields}

    def __post_init__(self) -> None:
        for name in ("terms", "frequencies"):
            array = np.array(getattr(self, name), dtype=np.int32)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        wrong = self._contradiction()
        if wrong is not None:
            raise ConfigurationError(f"these are not term statistics: {wrong}; count them again with TermStatistics.of")
        settings = [self.analyzer, self.documents, self.mean_length, self.k1, self.b]
        parts = [*settings, self.terms.tolist(), self.frequencies.tolist()]
        object.__setattr__(self, "fingerprint", sha256_of_json(parts))

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"TermStatistics({len(self)} terms of {self.documents} documents, language={self.language!r})"

    def __reduce__(self) -> tuple[type["TermStatistics"], tuple[object, ...]]:
        # Copies and pickles go through the constructor, so that their arrays are read-only too.
        settings = (self.language, self.analyzer, self.documents, self.mean_length)
        return type(self), (*settings, self.terms, self.frequencies, self.k1, self.b)

    def installed_analyzer(self) -> Analyzer:
        """Return the analyzer that counted these terms.

        Raises:
            ContextMismatchError: the installed one would yield other terms.
        """
        found = Analyzer(self.language)
        if found.identity != self.analyzer:
            raise ContextMismatchError(
                f"the terms of this context were counted by another analyzer ({self.analyzer[:12]}) than the installed "
                f"one ({found.identity[:12]}); install the releases of cde-retrievers and PyStemmer that fitted the "
                f"context, or fit it again"
            )
        return found

    def idf(self, terms: Terms) -> NDArray[np.float64]:
        """Inverse document frequency (n,) of terms (n,): ln(1 + (N - f + 1/2) / (f + 1/2)), f = 0 for unknown ones.

        Source: Robertson & Zaragoza, "The Probabilistic Relevance Framework", section 3.4.1, plus Lucene's 1 under the
        logarithm, which keeps it positive.
        """
        places = np.minimum(np.searchsorted(self.terms, terms), max(0, len(self) - 1))
        known = self.terms[places] == terms if len(self) else np.zeros(len(terms), dtype=bool)
        frequencies = np.where(known, self.frequencies[places], 0) if len(self) else np.zeros(len(terms))
        weights: NDArray[np.float64] = np.log1p((self.documents - frequencies + 0.5) / (frequencies + 0.5))
        return weights

    def _contradiction(self) -> str | None:
        if self.terms.ndim != 1 or self.terms.shape != self.frequencies.shape:
            return f"there are terms of shape {self.terms.shape} and frequencies of shape {self.frequencies.shape}"
        if len(self) and (self.terms[0] < 0 or self.terms[-1] >= TERM_LIMIT or (np.diff(self.terms) <= 0).any()):
            return f"terms must ascend and be in [0, {TERM_LIMIT})"
        if len(self) and not (self.frequencies.min() >= 1 and self.frequencies.max() <= self.documents):
            return f"a term must occur in 1 to {self.documents} documents"
        if not (self.documents >= 0 and 0 <= self.mean_length < np.inf):
            return f"{self.documents} documents cannot have a mean length of {self.mean_length}"
        if not (0 <= self.k1 < np.inf and 0 <= self.b <= 1):
            return f"k1 must be at least 0 and b in [0, 1], found {self.k1} and {self.b}"
        return None
