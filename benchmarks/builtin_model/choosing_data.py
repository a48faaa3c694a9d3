"""The arrays of a set that settings are chosen by. Axes: n documents, m queries, N context documents, W width.

MiniLM's plain vectors are kept in a folder, so that a further run does not compute them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sets import choosing_sets

from cde_retrievers import ContextualEncoder
from cde_retrievers.context.selection import draw_candidates
from cde_retrievers.evaluation import RetrievalDataset
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.vectors import unit_rows

QUERIES = 300
DOCUMENTS = 1500
CONTEXT_SIZE = 512
DEPTH = 10
Values = NDArray[np.float32]


@dataclass(frozen=True)
class ChoosingSet:
    """A set with its plain unit vectors, and one context of it.

    Attributes:
        name: of the set.
        texts: of the documents.
        queries: their texts.
        documents: plain unit vectors (n, W).
        asked: plain unit vectors of the queries (m, W).
        grades: what each document is worth to each query (m, n).
        context: which documents are the context's (N,).
    """

    name: str
    texts: Sequence[str]
    queries: Sequence[str]
    documents: Values
    asked: Values
    grades: Values
    context: NDArray[np.int64]

    @cached_property
    def statistics(self) -> TermStatistics:
        """Term statistics of the context."""
        return TermStatistics.of((self.texts[row] for row in self.context), Analyzer())

    @cached_property
    def ideal(self) -> Values:
        """Discounted gain (m,) of the best possible ranking."""
        return self._gain(np.sort(self.grades, axis=1)[:, ::-1])

    def ndcg(self, scores: Values) -> float:
        """Mean nDCG@10 of scores (m, n); of equal ones the first document goes first."""
        found = best(scores, DEPTH)
        return float(np.mean(self._gain(np.take_along_axis(self.grades, found, axis=1)) / self.ideal))

    @staticmethod
    def _gain(grades: Values) -> Values:
        kept = grades[:, :DEPTH]
        return kept @ (1 / np.log2(np.arange(2, kept.shape[1] + 2, dtype=np.float32)))


def best(scores: Values, depth: int) -> NDArray[np.int64]:
    """The columns (m, depth) of the largest scores (m, n) in each row, the largest first."""
    depth = min(depth, scores.shape[1])
    found = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def prepared_sets(data: Path, cache: Path) -> Iterator[ChoosingSet]:
    """Every set that settings are chosen by."""
    encoder = ContextualEncoder.from_pretrained("minilm")
    for each in choosing_sets(data, QUERIES, DOCUMENTS):
        queries = list(each.judged.queries.values())
        documents, asked = (_vectors(encoder, texts, cache, each.name) for texts in (each.texts, queries))
        context = np.array(draw_candidates(each.texts, CONTEXT_SIZE, 0).positions)
        yield ChoosingSet(each.name, each.texts, queries, documents, asked, _grades(each), context)


def _vectors(encoder: ContextualEncoder, texts: Sequence[str], cache: Path, name: str) -> Values:
    path = cache / f"{name}-{sha256_of_json([encoder.fingerprint, list(texts)])[:16]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, unit_rows(encoder.biencoder_vectors(texts, "", False)), allow_pickle=False)
        print(f"{name}: {len(texts)} texts embedded", flush=True)
    return np.load(path, allow_pickle=False)


def _grades(data: RetrievalDataset) -> Values:
    columns = {name: column for column, name in enumerate(data.ids)}
    grades = np.zeros((len(data.judged.queries), len(columns)), dtype=np.float32)
    for row, query in enumerate(data.judged.queries):
        for document, grade in data.judged.relevant[query].items():
            grades[row, columns[document]] = max(0, grade)
    return grades
