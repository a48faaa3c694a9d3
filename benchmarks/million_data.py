"""What `million.py` searches: clustered vectors, short texts, years, queries and exact hits. Axes: W width."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filtered_search import WIDTH, Drawn
from numpy.typing import NDArray

from cde_retrievers.index import Document

K, QUERIES, TUNING = 10, 200, 200
# Name: filter of an index, condition of SQL, first and last year. Years are 1990 to 2024, alike often.
FILTERS: dict[str, tuple[dict[str, Any] | None, str | None, int, int]] = {
    "none": (None, None, 1990, 2024),
    "3 %": ({"year": 2001}, "year = 2001", 2001, 2001),
    "14 %": ({"year": {"$gte": 2020}}, "year >= 2020", 2020, 2024),
    "70 %": ({"year": {"$gte": 2000}}, "year >= 2000", 2000, 2024),
}
_BLOCK, _CLUSTERS, _DIRECTIONS, _WORDS = 10_000, 1_000, 64, 5_000
_CENTRE, _SPREAD, _NOISE = 0.6, 0.6, 0.3  # so that clusters overlap


def document_of(row: int) -> Document:
    """The document in a row."""
    draws = [(row * 2_654_435_761 + place * 3_935_559) % 2**32 / 2**32 for place in range(8)]
    words = " ".join(f"w{int(_WORDS**draw)}" for draw in draws)
    return Document(f"text {row} {words}", f"d{row}", {"year": 1990 + row % 35})


class Data:
    """A size's vectors in a file of the folder, drawn once, and what queries should find.

    Clusters have a spread of their own in 64 directions that all share, and noise in all. Queries are drawn as
    documents are.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size, self._folder = size, folder
        random = np.random.default_rng(0)
        self._centres = random.standard_normal((_CLUSTERS, WIDTH), dtype=np.float32)
        self._directions = random.standard_normal((_DIRECTIONS, WIDTH), dtype=np.float32) / 8

    def _drawn(self, count: int, seed: int) -> NDArray[np.float32]:
        random = np.random.default_rng([1, seed])
        rows = _CENTRE * self._centres[random.integers(0, _CLUSTERS, count)]
        rows += _SPREAD * random.standard_normal((count, _DIRECTIONS), dtype=np.float32) @ self._directions
        rows += _NOISE * random.standard_normal((count, WIDTH), dtype=np.float32)
        drawn: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return drawn

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(size, W) unit rows, mapped."""
        path = self._folder / f"vectors-{self.size}.npy"
        if not path.exists():
            partial = path.with_suffix(".part")
            found = np.lib.format.open_memmap(partial, "w+", np.float32, (self.size, WIDTH))
            for start in range(0, self.size, _BLOCK):
                found[start : start + _BLOCK] = self._drawn(min(_BLOCK, self.size - start), start)
            found.flush()
            partial.rename(path)
        mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return mapped

    @cached_property
    def queries(self) -> NDArray[np.float32]:
        """(QUERIES, W), and none of them is a document."""
        return self._drawn(QUERIES, 2**40)

    @cached_property
    def tuning(self) -> NDArray[np.float32]:
        """(TUNING, W): queries by which an engine may choose its settings."""
        return self._drawn(TUNING, 2**41)

    @cached_property
    def new(self) -> NDArray[np.float32]:
        """(n, W): vectors of documents to add."""
        return self._drawn(20, 2**42)

    def query_text(self, number: int) -> str:
        """The words of a query."""
        return " ".join(document_of(number * 97 + 5).text.split()[2:6])

    def mask(self, name: str) -> NDArray[np.bool_]:
        """The rows that pass a filter (size,)."""
        years = 1990 + np.arange(self.size) % 35
        passing: NDArray[np.bool_] = (years >= FILTERS[name][2]) & (years <= FILTERS[name][3])
        return passing

    @cached_property
    def truth(self) -> dict[str, NDArray[np.int64]]:
        """The K exact hits of the queries under each filter, and of those for tuning under none."""
        path = self._folder / f"truth-{self.size}.npz"
        if not path.exists():
            found = {name: self._nearest(self.queries, self.mask(name)) for name in FILTERS}
            np.savez(path, **found, tuning=self._nearest(self.tuning, self.mask("none")))
        return dict(np.load(path))

    def _nearest(self, queries: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        scores, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in range(0, self.size, _BLOCK):
            here = start + np.flatnonzero(mask[start : start + _BLOCK])
            scores = np.concatenate([scores, queries @ self.vectors[here].T], axis=1)
            rows = np.concatenate([rows, np.broadcast_to(here, (len(queries), len(here)))], axis=1)
            best = np.argsort(-scores, axis=1)[:, :K]
            scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
        return rows


class Documents:
    """The documents, made in every pass."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Document]:
        return map(document_of, range(self._size))


class Stored(Drawn):
    """Vectors of the data, by the row that a text names."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._data = data

    def encode_documents(self, texts: Sequence[str], *_: Any, **options: Any) -> NDArray[np.float32]:
        """(n, W) unit rows."""
        return np.asarray(self._data.vectors[[int(text.split()[1]) for text in texts]])
