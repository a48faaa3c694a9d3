"""Two forms of contextual search for stores of one vector a text. Axes: n texts, T terms, W width, L lexical width.

One vector: the vector under the context, followed by the words of the text, hashed. The query's side: the context
acts on queries alone, and documents keep their plain vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product

import numpy as np
import torch
from choosing_data import ChoosingSet, Values
from hybrid_settings import POWERS, SHRINKAGES, Setting, Views
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.model.whitening import fit_whitening
from cde_retrievers.sparse.bm25 import document_rows
from cde_retrievers.validation.vectors import unit_rows

WIDTHS = (128, 384, 1536)
WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5)
SLOTS = (1, 4, 8)
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class OneVector:
    """normalise([v ; sqrt(a) u]): v the unit vector under the context, u the unit vector of hashed words.

    Attributes:
        weight: a.
        slots: number of dimensions that a word is added to.
        b: BM25's length normalisation in the words' saturation.
        width: L; None for all words without a hash, which shows what hashing costs.
    """

    weight: float
    slots: int
    b: float
    width: int | None = None

    def complexity(self) -> tuple[float, ...]:
        """Sorts the simpler first: fewer slots, no length normalisation."""
        return self.slots, self.b

    def of_width(self, width: int | None) -> "OneVector":
        """The same form at that width."""
        return replace(self, width=width)

    @classmethod
    def grid(cls, b: float) -> list["OneVector"]:
        """All to be tried, but for the width; without length normalisation, and with this one."""
        return [cls(weight, slots, b) for slots, b, weight in product(SLOTS, (0.0, b), WEIGHTS)]


@dataclass(frozen=True)
class QuerySide:
    """normalise(M M (q - shift m)) against plain vectors of documents, with matrix M and mean m of the closed form."""

    shift: float
    power: float
    shrinkage: float

    def complexity(self) -> tuple[float, ...]:
        """Sorts the simpler first: no mean or all of it, then near the closed form's usual settings in grid steps."""
        steps = abs(POWERS.index(self.power) - POWERS.index(0.3)) + (self.shrinkage != 1.0)
        return self.shift not in (0.0, 1.0), steps

    @classmethod
    def grid(cls) -> list["QuerySide"]:
        """All to be tried."""
        return [cls(*each) for each in product(SHIFTS, POWERS[1:], SHRINKAGES)]


def one_vector_ndcg(data: ChoosingSet, forms: Sequence[OneVector], chosen: Setting) -> list[float]:
    """nDCG@10 of each form on one set."""
    dense = Views(data).dense(chosen.power, chosen.shrinkage).cosines
    words = cache(partial(_words, data, chosen.k1))
    found = []
    for form in forms:
        lexical, (asked, documents) = words(form.b, form.width, form.slots)
        lengths = np.sqrt(np.outer(1 + form.weight * asked, 1 + form.weight * documents))
        found.append(data.ndcg((dense + form.weight * lexical) / lengths))
    return found


def query_side_ndcg(data: ChoosingSet, forms: Sequence[QuerySide]) -> list[float]:
    """nDCG@10 of each form on one set."""
    context = torch.from_numpy(data.documents[data.context])
    fit = cache(partial(fit_whitening, context))
    found = []
    for form in forms:
        closed = fit(form.power, form.shrinkage)
        mean, matrix = closed.mean.numpy(), closed.matrix.numpy()
        asked = unit_rows((data.asked - form.shift * mean) @ matrix @ matrix)
        found.append(data.ndcg(asked @ data.documents.T))
    return found


def hashed(rows: csr_matrix, width: int, slots: int) -> Values:
    """Rows (n, T) added up in fewer dimensions (n, width): each term in some of them, with a sign of its own.

    Where a term goes depends on its number alone, so that texts hashed at different times can be compared.
    """
    present = np.unique(rows.indices)
    numbers = _mixed(
        np.repeat(present.astype(np.uint64), slots) * np.uint64(slots)
        + np.tile(np.arange(slots, dtype=np.uint64), len(present))
    )
    signs = np.where(numbers >> np.uint64(63), 1.0, -1.0).astype(np.float32) / np.sqrt(np.float32(slots))
    bounds = np.arange(0, len(numbers) + 1, slots)
    projection = csr_matrix((signs, (numbers % np.uint64(width)).astype(np.int32), bounds), shape=(len(present), width))
    return (rows[:, present] @ projection).toarray()


def _words(
    data: ChoosingSet, k1: float, b: float, width: int | None, slots: int
) -> tuple[Values, tuple[Values, Values]]:
    """Cosines (m, n) of the words of queries and documents, and which of either have any: (m,) and (n,)."""
    statistics = replace(data.statistics, k1=k1, b=b)
    sides = []
    for texts in (data.queries, data.texts):
        rows = document_rows(texts, statistics)
        rows.data *= np.sqrt(statistics.idf(rows.indices)).astype(np.float32)
        sides.append(rows if width is None else csr_matrix(hashed(rows, width, slots)))
    lengths = [np.sqrt(rows.multiply(rows).sum(axis=1)).A1 for rows in sides]
    cosines = (sides[0] @ sides[1].T).toarray()
    scale = np.outer(*(np.where(each > 0, each, 1) for each in lengths))
    return (cosines / scale).astype(np.float32), tuple((each > 0).astype(np.float32) for each in lengths)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose every bit depends on every bit of the given one (the last steps of SplitMix64)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
