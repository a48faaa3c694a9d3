"""Approximate search for large indexes: faiss proposes candidates, the stored vectors decide.

Candidates come from 8-bit codes, a quarter of the vectors' size; scores are exact, since every candidate is scored
again with its stored vector. How far a search goes is measured when the index is made: as far as a stated recall
needs. faiss keeps the number in its file.

Axes: Q queries, R rows, W width, C candidates.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.calibration import least_effort
from cde_retrievers.index.entries import AcceleratorEntry, AcceleratorFile, SegmentEntry
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.ownership import OwnedDirectory
from cde_retrievers.index.packed_vectors import PackedVectors
from cde_retrievers.index.symlinks import new_file
from cde_retrievers.storage.sync import sync_file
from cde_retrievers.util.forked import prepare_faiss
from cde_retrievers.util.imports import imported_when_used
from cde_retrievers.validation.vectors import Embeddings

if TYPE_CHECKING:
    import faiss
else:
    faiss = imported_when_used("faiss")  # most indexes are flat, and need none of it

MIN_ROWS = 10_000
"""Number of rows below which exact search is as fast."""
_TRAINING_ROWS = 50_000
_HNSW_NEIGHBOURS, _HNSW_BUILD_EFFORT = 32, 100
# Effort of a search is for "hnsw" the number of nodes visited, for "ivf" that of lists searched.
# Of queries between vectors of the index, which are harder for a graph than those that people ask (docs/results.md).
_RECALL: dict[Kind, float] = {"hnsw": 0.8, "ivf": 0.95}
_LEAST_EFFORT: dict[Kind, int] = {"hnsw": 100, "ivf": 2}
_NOT_MEASURED: dict[Kind, int] = {"hnsw": 16, "ivf": 1}  # faiss's own, as in files of earlier releases
_OLD_NODES, _OLD_LISTS = 256, 4  # of these releases: nodes visited; one in this many lists is searched
_MIN_SHARE = 0.1  # of rows that a filter must leave; the nearest of fewer may all be far from where a search looks
# Costs in rows that exact search scores in the same time (docs/results.md, "When exact search is as fast").
_COST_OF_NODE, _NODES_OF_DOUBLE_COST = 24, 14_400  # of a node visited, twice that where so many are
_COST_OF_CODE = 0.25  # of a row in the lists searched
_COST_OF_CANDIDATE = 10  # whose vector is read and scored again
_WRITTEN_AT_ONCE = 1 << 20
_CANDIDATES_PER_HIT, _MIN_CANDIDATES = 4, 100


def build_accelerator(
    home: OwnedDirectory, kind: Kind, segments: tuple[SegmentEntry, ...], parts: list[Embeddings | PackedVectors]
) -> AcceleratorEntry:
    """Build a faiss index over the vectors of the segments, in the file that the entry names.

    Args:
        home: the directory of the index.
        kind: "ivf" or "hnsw".
        segments: the segments it covers.
        parts: their vectors, each (R, W).
    """
    prepare_faiss()
    rows = sum(len(part) for part in parts)
    index = _empty(kind, rows, parts[0].shape[1])
    index.train(_sample(parts, rows))
    for part in parts:
        index.add(np.ascontiguousarray(part[:]))
    _calibrate(index, kind, parts)
    path = home.path / f"accelerator-{home.new_name()}.faiss"
    try:
        # Through our own file: faiss overlooks a full disk when it closes its own.
        with new_file(path) as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _WRITTEN_AT_ONCE))
        sync_file(path)
    except BaseException:
        home.remove(path)  # at once: the disk may be full
        raise
    return AcceleratorEntry(file=AcceleratorFile.of(path), rows=rows, segments=tuple(entry.name for entry in segments))


def _empty(kind: Kind, rows: int, width: int) -> "faiss.Index":
    codes, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(width, codes, _HNSW_NEIGHBOURS, metric)
        index.hnsw.efConstruction = _HNSW_BUILD_EFFORT
        return index
    lists = max(16, int(4 * math.sqrt(rows)) // 8 * 8)
    coarse = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFScalarQuantizer(coarse, width, lists, codes, metric)
    index.own_fields = True
    coarse.this.disown()
    return index


def _sample(parts: Iterable[Embeddings | PackedVectors], rows: int) -> Embeddings:
    """Return every n-th row, so that at most `_TRAINING_ROWS` are in memory."""
    step = max(1, math.ceil(rows / _TRAINING_ROWS))
    return np.concatenate([np.ascontiguousarray(part[::step]) for part in parts])


def _calibrate(index: "faiss.Index", kind: Kind, parts: list[Embeddings | PackedVectors]) -> None:
    """Set the effort of searches to the least that reaches the recall."""

    def search(queries: Embeddings, effort: int) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = index.search(queries, _MIN_CANDIDATES, params=_parameters(kind, effort, None))[1]
        return rows

    most = index.ntotal if kind == "hnsw" else index.nlist
    effort = least_effort(search, parts, _RECALL[kind], _LEAST_EFFORT[kind], most)
    if kind == "hnsw":
        index.hnsw.efSearch = effort
    else:
        index.nprobe = effort


def _effort(index: "faiss.Index", kind: Kind) -> int:
    """Return the effort that was measured, or what an earlier release used."""
    measured = int(index.hnsw.efSearch if kind == "hnsw" else index.nprobe)
    if measured != _NOT_MEASURED[kind]:
        return measured
    return _OLD_NODES if kind == "hnsw" else max(1, index.nlist // _OLD_LISTS)


def _parameters(kind: Kind, effort: int, selector: "faiss.IDSelector | None") -> "faiss.SearchParameters":
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
    return faiss.SearchParametersIVF(nprobe=effort, sel=selector)


class Accelerator:
    """An open candidate index; safe to use from several threads.

    Args:
        directory: directory of the index.
        entry: the accelerator, whose file is undamaged.
        kind: kind of the index.
        width: length of a vector, W.

    Raises:
        FileNotFoundError: a writer has removed the file in the meantime.
        IndexFileError: the file is not the index that the entry describes.
    """

    def __init__(self, directory: Path, entry: AcceleratorEntry, kind: Kind, width: int) -> None:
        self.rows = entry.rows
        self._kind = kind
        path = directory / entry.file.name
        try:
            self._index = faiss.read_index(str(path))
        except RuntimeError as error:
            if path.exists():
                raise IndexFileError(f"{path} is not a faiss file: {error}") from error
            raise FileNotFoundError(f"{path} was removed while it was opened") from error
        wanted = faiss.IndexHNSWSQ if kind == "hnsw" else faiss.IndexIVFScalarQuantizer
        if not isinstance(self._index, wanted) or (self._index.d, self._index.ntotal) != (width, entry.rows):
            raise IndexFileError(
                f"{path} is not an accelerator of kind {kind!r} for {entry.rows} rows of {width} numbers"
            )
        self._effort = _effort(self._index, kind)

    def is_worthwhile(self, k: int, allowed: NDArray[np.bool_]) -> bool:
        """Whether candidates for `k` hits cost less than exact search, and are as good; `allowed` is a mask (R,)."""
        left, wanted = self._left(allowed), self._wanted(k)
        if left < _MIN_SHARE * self.rows:
            return False
        return self._cost(self._effort_for(wanted, left), wanted) < left

    def candidates(self, queries: Embeddings, k: int, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return row numbers (Q, C) to score; -1 if there are fewer.

        Args:
            queries: (Q, W).
            k: number of hits wanted.
            allowed: mask (R,) of the rows that may be found.
        """
        wanted, left = min(self.rows, self._wanted(k)), self._left(allowed)
        everything = left == self.rows
        selector = None if everything else faiss.IDSelectorBitmap(np.packbits(allowed[: self.rows], bitorder="little"))
        prepare_faiss()
        parameters = _parameters(self._kind, self._effort_for(wanted, left), selector)
        found: NDArray[np.int64] = self._index.search(queries, wanted, params=parameters)[1]
        return found

    def _left(self, allowed: NDArray[np.bool_]) -> int:
        """Return how many of its rows are allowed."""
        return int(np.count_nonzero(allowed[: self.rows]))

    @staticmethod
    def _wanted(k: int) -> int:
        """Return the number of candidates for `k` hits."""
        return max(_MIN_CANDIDATES, _CANDIDATES_PER_HIT * k)

    def _effort_for(self, wanted: int, left: int) -> int:
        """Return the effort for so many candidates, of so many allowed rows.

        More candidates lie further away, and of the rows that are looked at only the allowed share counts.
        """
        return math.ceil(self._effort * max(1, wanted / _MIN_CANDIDATES) / max(left / self.rows, _MIN_SHARE))

    def _cost(self, effort: int, wanted: int) -> float:
        """Return what a search costs, in rows that exact search scores in the same time."""
        if self._kind == "hnsw":
            # faiss keeps as many nodes in a list, and looks through it at each.
            search = effort * _COST_OF_NODE * (1 + effort / _NODES_OF_DOUBLE_COST)
        else:
            search = min(effort / self._index.nlist, 1) * self.rows * _COST_OF_CODE
        return search + wanted * _COST_OF_CANDIDATE
