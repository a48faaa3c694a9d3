"""What `million.py` compares, each built in a folder, opened again, searched by one vector, and added to.

Approximate engines other than ours choose their effort by the tuning queries: the least of a few that finds 95 of 100
exact hits. Ours choose theirs when they are built.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from million_data import FILTERS, Data, Documents, K, Stored, document_of
from numpy.typing import NDArray

from cde_retrievers.index import ContextualIndex

RECALL, BATCH = 0.95, 10_000
EFFORTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
Vector = NDArray[np.float32]


def batches(data: Data) -> Iterable[tuple[int, Vector]]:
    """Some rows at a time, with the number of the first."""
    return ((start, np.ascontiguousarray(data.vectors[start : start + BATCH])) for start in range(0, data.size, BATCH))


def least_effort(data: Data, search: Callable[[Vector, int], Iterable[int]]) -> int:
    """The least effort with which a search finds enough of what it should."""
    for effort in EFFORTS:
        pairs = zip(data.tuning, data.truth["tuning"], strict=True)
        found = [len({*search(query, effort)} & {*exact.tolist()}) / K for query, exact in pairs]
        if np.mean(found) >= RECALL:
            return effort
    return EFFORTS[-1]


class Ours:
    """`ContextualIndex`, which holds the documents too."""

    def __init__(self, data: Data, folder: Path, kind: Any) -> None:
        self._data, self._path, self._kind, self._embedder = data, folder / "index", kind, Stored(data)

    def build(self) -> None:
        """Embed, in no time, and write everything."""
        embedder: Any = self._embedder
        ContextualIndex.build(Documents(self._data.size), embedder, self._path, kind=self._kind, show_progress=True)

    def open(self) -> None:
        """Check every file."""
        embedder: Any = self._embedder
        self._index = ContextualIndex.open(self._path, embedder)

    def tune(self) -> int | None:
        """It did when it was built."""
        accelerator = self._index._current.snapshot.accelerator
        return None if accelerator is None else accelerator._effort

    def search(self, query: Vector, name: str, text: str | None = None) -> list[int]:
        """Rows, best first; hybrid with a text."""
        texts = None if text is None else [text]
        fingerprint = self._index.context.fingerprint
        (hits,) = self._index.search_embedded(query[None], fingerprint, K, FILTERS[name][0], texts=texts)
        return [int(hit.id[1:]) for hit in hits]

    def add(self, vector: Vector, row: int) -> None:
        """Add a document, synced to the device."""
        self._index.add_embedded([document_of(row)], vector[None], self._index.context.fingerprint)


class Faiss:
    """A faiss index of float32 vectors, in memory, without documents; it is told for nothing which rows pass."""

    def __init__(self, data: Data, folder: Path, kind: str) -> None:
        self._data, self._path, self._kind, self._effort = data, folder / "index.faiss", kind, 0

    def build(self) -> None:
        """Fill and write it."""
        width, metric = self._data.vectors.shape[1], faiss.METRIC_INNER_PRODUCT
        if self._kind == "flat":
            index = faiss.IndexFlatIP(width)
        elif self._kind == "hnsw":
            index = faiss.IndexHNSWFlat(width, 32, metric)
            index.hnsw.efConstruction = 100
        else:
            index = faiss.index_factory(width, f"IVF{int(4 * self._data.size**0.5)},Flat", metric)
            index.train(np.ascontiguousarray(self._data.vectors[:: max(1, self._data.size // 50_000)]))
        for _, rows in batches(self._data):
            index.add(rows)
        faiss.write_index(index, str(self._path))

    def open(self) -> None:
        """Read it into memory."""
        self._index = faiss.read_index(str(self._path))
        masks = {name: np.packbits(self._data.mask(name), bitorder="little") for name in FILTERS}
        self._selectors = {
            name: None if name == "none" else faiss.IDSelectorBitmap(mask) for name, mask in masks.items()
        }

    def tune(self) -> int | None:
        """Lists or nodes to visit."""
        if self._kind != "flat":
            self._effort = least_effort(self._data, lambda query, effort: self._search(query, "none", effort))
        return self._effort or None

    def search(self, query: Vector, name: str) -> list[int]:
        """Rows, best first."""
        return self._search(query, name, self._effort)

    def _search(self, query: Vector, name: str, effort: int) -> list[int]:
        selector = self._selectors[name]
        parameters = {
            "flat": lambda: faiss.SearchParameters(sel=selector),
            "hnsw": lambda: faiss.SearchParametersHNSW(efSearch=effort, sel=selector),
            "ivf": lambda: faiss.SearchParametersIVF(nprobe=effort, sel=selector),
        }[self._kind]()
        rows: list[int] = self._index.search(query[None], K, params=parameters)[1][0].tolist()
        return rows

    def add(self, vector: Vector, row: int) -> None:
        """Add a vector in memory; nothing is written."""
        self._index.add(vector[None])


class Usearch:
    """An HNSW graph of usearch over float32 vectors, in memory, without documents; it cannot filter."""

    def __init__(self, data: Data, folder: Path) -> None:
        from usearch import index  # here, so that the others are measured without it

        self._data, self._path, self._usearch = data, folder / "index.usearch", index

    def build(self) -> None:
        """Fill and write it."""
        index = self._usearch.Index(
            ndim=self._data.vectors.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=100
        )
        for start, rows in batches(self._data):
            index.add(np.arange(start, start + len(rows)), rows, threads=1)
        index.save(str(self._path))

    def open(self) -> None:
        """Read it into memory."""
        self._index = self._usearch.Index.restore(str(self._path))

    def tune(self) -> int | None:
        """Nodes to visit."""
        effort = least_effort(self._data, self._search)
        self._index.expansion_search = effort
        return effort

    def search(self, query: Vector, name: str) -> list[int] | None:
        """Rows, best first."""
        return self._rows(query) if name == "none" else None

    def _search(self, query: Vector, effort: int) -> list[int]:
        self._index.expansion_search = effort
        return self._rows(query)

    def _rows(self, query: Vector) -> list[int]:
        rows: list[int] = self._index.search(query, K, threads=1).keys.tolist()
        return rows

    def add(self, vector: Vector, row: int) -> None:
        """Add a vector in memory; nothing is written."""
        self._index.add(row, vector, threads=1)


class Lance:
    """A table of LanceDB with the documents, and an index of kind IVF_SQ (8-bit codes); hits are scored again."""

    def __init__(self, data: Data, folder: Path) -> None:
        import lancedb  # here, as above
        import pyarrow

        self._lancedb, self._pyarrow = lancedb, pyarrow
        self._data, self._path, self._effort = data, folder / "lance", 1

    def _batch(self, rows: Iterable[int], vectors: Vector) -> Any:
        pa = self._pyarrow
        documents = [document_of(row) for row in rows]
        return pa.table(
            {
                "row": pa.array(rows, pa.int64()),
                "text": [document.text for document in documents],
                "year": pa.array([document.metadata["year"] for document in documents], pa.int64()),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
            }
        )

    def build(self) -> None:
        """Write the table, then its index."""
        database, table = self._lancedb.connect(self._path), None
        for start, vectors in batches(self._data):
            batch = self._batch(range(start, start + len(vectors)), vectors)
            if table is None:
                table = database.create_table("documents", batch)
            else:
                table.add(batch)
        assert table is not None
        table.create_index(metric="cosine", index_type="IVF_SQ", num_partitions=int(4 * self._data.size**0.5))

    def open(self) -> None:
        """Open the table."""
        self._table = self._lancedb.connect(self._path).open_table("documents")

    def tune(self) -> int | None:
        """Partitions to search; ten times the hits are scored again."""
        self._effort = least_effort(self._data, lambda query, effort: self._search(query, "none", effort))
        return self._effort

    def search(self, query: Vector, name: str) -> list[int]:
        """Rows, best first."""
        return self._search(query, name, self._effort)

    def _search(self, query: Vector, name: str, effort: int) -> list[int]:
        asked = self._table.search(query).distance_type("cosine").nprobes(effort).refine_factor(10).limit(K)
        condition = FILTERS[name][1]
        if condition is not None:
            asked = asked.where(condition, prefilter=True)
        rows: list[int] = asked.select(["row", "_distance"]).to_arrow()["row"].to_pylist()
        return rows

    def add(self, vector: Vector, row: int) -> None:
        """Add a document."""
        self._table.add(self._batch([row], vector[None]))


Engine = Ours | Faiss | Usearch | Lance
# Name: the package it needs, and how it is made.
ENGINES: dict[str, tuple[str, Callable[[Data, Path], Engine]]] = {
    "ours flat": ("faiss", lambda data, folder: Ours(data, folder, "flat")),
    "ours ivf": ("faiss", lambda data, folder: Ours(data, folder, "ivf")),
    "ours hnsw": ("faiss", lambda data, folder: Ours(data, folder, "hnsw")),
    "faiss flat": ("faiss", lambda data, folder: Faiss(data, folder, "flat")),
    "faiss ivf": ("faiss", lambda data, folder: Faiss(data, folder, "ivf")),
    "faiss hnsw": ("faiss", lambda data, folder: Faiss(data, folder, "hnsw")),
    "usearch": ("usearch", Usearch),
    "lancedb": ("lancedb", Lance),
}
