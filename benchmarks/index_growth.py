"""What an index of real texts costs to build, open and search, from a thousand to a hundred thousand documents.

Texts are the first words of documents from three retrieval sets, in turn, and queries are those that come after them.
The first ten thousand are embedded by the built-in model; the vectors of the rest are drawn around these, so that what
is measured is the index and not the encoder. Every size is built in a process of its own, whose peak memory is the
whole process': Python, PyTorch, model and all (Linux). Searching is timed without the encoder, on queries that are
embedded already, in another process; "faiss flat" is `IndexFlatIP` in memory on the same vectors, in the same run. IVF
and HNSW are built over the vectors of the flat index and held against it.

python benchmarks/index_growth.py --data <folder of BEIR sets> --output <file>
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from beir import load_documents

from cde_retrievers import ContextualEncoder
from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.index import ContextualIndex, Document

SETS = ("wordnet-glosses", "debian-packages", "python-docstrings")
SIZES = (1_000, 10_000, 100_000)
WORDS, QUERIES, K = 12, 500, 10
EMBEDDED, NOISE = 10_000, 0.5


class Texts:
    """The first words of the first documents, read anew in every pass."""

    def __init__(self, data: Path, size: int, skip: int = 0) -> None:
        self._data, self._size, self._skip = data, size, skip

    def __iter__(self) -> Iterator[str]:
        every = chain.from_iterable(zip_longest(*(load_documents(self._data / name) for name in SETS)))
        cut = (" ".join(text.split()[:WORDS]) for text in every if text is not None)
        return islice(cut, self._skip, self._skip + self._size)


class Drawn(DelegatingEmbedder):
    """The built-in model's contexts, with vectors of documents that were computed before, or drawn around these."""

    def __init__(self, encoder: ContextualEncoder, vectors: Any) -> None:
        super().__init__(encoder.name, encoder.fingerprint)
        self._encoder, self._vectors, self._done = encoder, vectors, 0
        self._random = np.random.default_rng(0)

    def _embedder(self) -> ContextualEncoder:
        return self._encoder

    def encode_documents(self, texts: list[str], context: Any, show_progress: bool | None = None) -> Any:
        """(n, width) float32 unit rows, for the next n documents."""
        rows = np.arange(self._done, self._done + len(texts))
        self._done += len(texts)
        drawn = self._vectors[rows % EMBEDDED]
        noise = self._random.standard_normal(drawn.shape, dtype=np.float32) * (NOISE / drawn.shape[1] ** 0.5)
        drawn = drawn + np.where(rows[:, None] < EMBEDDED, 0, noise)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def build(data: Path, size: int, vectors: Path, path: Path) -> dict[str, Any]:
    """Build a flat index, in this process."""
    encoder = ContextualEncoder.from_pretrained("minilm", dtype="float32")
    context = encoder.fit_context(Texts(data, EMBEDDED))
    start = time.perf_counter()
    embedder = Drawn(encoder, np.load(vectors, mmap_mode="r"))
    index = ContextualIndex.build(Texts(data, size), embedder, path, context=context, show_progress=True)
    vectors = len(index) * encoder.width * 4 / 2**20
    return {
        "documents": len(index),
        "build_seconds": round(time.perf_counter() - start, 1),
        "vectors_mb": round(vectors, 1),
        "peak_mb": round(peak_mb()),
        "allowed_mb": round(1.5 * vectors + 600),
        "on_disk_mb": round(sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 2**20, 1),
    }


def peak_mb() -> float:
    """VmHWM, since the peak that getrusage reports starts with that of the process that forked."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def search(data: Path, path: Path) -> dict[str, Any]:
    """Open the index and search it, and the same vectors in other ways, in this process."""
    start = time.perf_counter()
    index = ContextualIndex.open(path)
    seconds = time.perf_counter() - start
    found: dict[str, Any] = {"open_seconds": round(seconds, 3)}
    texts = list(Texts(data, QUERIES, skip=SIZES[-1]))
    queries = index.embedder.encode_queries(texts, index.context)
    exact = [{hit.id for hit in hits} for hits in index.search_embedded(queries, index.context.fingerprint, K)]
    found["flat"] = timed(index, queries)
    vectors = index.vectors(index.ids())
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    found["faiss flat"] = {"query_ms": p50(lambda query: flat.search(query, K), queries)}
    for kind in ("ivf", "hnsw"):
        found[kind] = approximate(index, kind, vectors, queries, exact)
    return found


def approximate(index: ContextualIndex, kind: Any, vectors: Any, queries: Any, exact: list[set[str]]) -> dict[str, Any]:
    """An index of another kind over the same vectors, held against the exact hits."""
    with tempfile.TemporaryDirectory() as folder:
        fingerprint = index.context.fingerprint
        other = ContextualIndex.create(index.embedder, index.context, f"{folder}/index", kind=kind)
        documents = [Document(document.text, document.id) for document in index.documents()]
        other.add_embedded(documents, vectors, fingerprint)
        start = time.perf_counter()
        other.optimize()
        seconds = time.perf_counter() - start
        hits = other.search_embedded(queries, fingerprint, K)
        recall = np.mean([len(truth & {hit.id for hit in h}) / K for truth, h in zip(exact, hits, strict=True)])
        return {"recall_at_10": round(float(recall), 4), "make_seconds": round(seconds, 1), **timed(other, queries)}


def timed(index: ContextualIndex, queries: Any) -> dict[str, float]:
    """Milliseconds for one query, and for each of many at once."""
    fingerprint = index.context.fingerprint
    one = p50(lambda query: index.search_embedded(query, fingerprint, K), queries)
    start = time.perf_counter()
    index.search_embedded(queries, fingerprint, K)
    many = (time.perf_counter() - start) / len(queries)
    return {"query_ms": one, "query_of_many_ms": round(1e3 * many, 3)}


def p50(run: Callable[[Any], object], queries: Any) -> float:
    """Median milliseconds over the queries, one at a time."""
    run(queries[:1])
    seconds = []
    for row in range(len(queries)):
        start = time.perf_counter()
        run(queries[row : row + 1])
        seconds.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(seconds)), 3)


def in_new_process(*arguments: object) -> dict[str, Any]:
    """What this script prints as its last line with these arguments."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(result: dict[str, Any]) -> str:
    """Times, memory and recall by number of documents."""
    lines = [
        "| documents | build | peak memory, model and all | open | a query (p50): flat | faiss's flat "
        "| IVF (recall@10) | HNSW (recall@10) |",
        "|---" * 8 + "|",
    ]
    for row in result["rows"]:
        flat, theirs = (f"{row[kind]['query_ms']:.1f} ms" for kind in ("flat", "faiss flat"))
        ivf, hnsw = (f"{row[kind]['query_ms']:.1f} ms ({row[kind]['recall_at_10']:.2f})" for kind in ("ivf", "hnsw"))
        lines.append(
            f"| {row['documents']:,} | {row['build_seconds']:.1f} s | {row['peak_mb']} MB "
            f"| {row['open_seconds']:.2f} s | {flat} | {theirs} | {ivf} | {hnsw} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print and write one row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index is not None:
        done = (
            build(options.data, options.build, options.vectors, options.index)
            if options.build
            else search(options.data, options.index)
        )
        print(json.dumps(done))
        return
    rows = []
    encoder = ContextualEncoder.from_pretrained("minilm", dtype="float32")
    context = encoder.fit_context(Texts(options.data, EMBEDDED))
    embedded = encoder.encode_documents(Texts(options.data, EMBEDDED), context, show_progress=True)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/vectors.npy", embedded)
            where = ("--vectors", f"{folder}/vectors.npy", "--data", options.data, "--index", f"{folder}/index")
            rows.append({**in_new_process(*where, "--build", size), **in_new_process(*where)})
        print(json.dumps(rows[-1], indent=1))
    settings = {
        "sets": SETS,
        "words": WORDS,
        "queries": QUERIES,
        "k": K,
        "embedded": EMBEDDED,
        "noise": NOISE,
        "faiss": faiss.__version__,
    }
    print(table({"rows": rows}))
    if options.output:
        options.output.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
