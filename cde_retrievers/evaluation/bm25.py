"""BM25 as another library computes it, to compare with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.hits import Hits, hits_of_others
from cde_retrievers.util.imports import imported, require

_EXTRA = "eval"


@dataclass(frozen=True, slots=True)
class BM25:
    """BM25 by bm25s: Lucene's variant, English stop words and Snowball stemmer, title and text as one.

    Attributes:
        k1: term-frequency saturation.
        b: length normalisation.

    Raises:
        MissingDependencyError: bm25s or its stemmer is not installed; names the extra.
    """

    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        for package in ("bm25s", "Stemmer"):
            require(package, "BM25", extra=_EXTRA)

    @property
    def name(self) -> str:
        """Its name in tables."""
        return "BM25"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`. A document that shares no word with the query is not found.

        Documents of equal score come in the order of the corpus.
        """
        bm25s = imported("bm25s", "BM25", extra=_EXTRA)
        index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        index.index(_words(bm25s, data.texts), show_progress=bool(show_progress))
        words = _words(bm25s, list(data.judged.queries.values()))

        def retrieved(count: int) -> Hits:
            found = index.retrieve(words, k=min(count, len(data.texts)), show_progress=bool(show_progress))
            rows, scores = found.documents.astype(np.int64), found.scores.astype(np.float32)
            return Hits.ordered(rows, np.where(scores > 0, scores, np.float32(-np.inf)))

        return hits_of_others(data, depth, retrieved)


def _words(bm25s: Any, texts: Any) -> Any:
    stemmer = imported("Stemmer", "BM25", extra=_EXTRA).Stemmer("english")
    return bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)
