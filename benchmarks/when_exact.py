"""When is exact search as fast as candidates of "ivf" and "hnsw", and which of both does an index choose?

The time of one query that is embedded already, in one thread, with candidates and exactly, in turn; by how many
documents pass a filter and how many hits are wanted. Documents that pass are drawn at random. "real" are the documents
of `calibration.py` and questions about Python; "drawn" are the vectors of `million.py`. Times are the processor time of
this process, so that other work on the machine does not count.

    OMP_NUM_THREADS=1 python benchmarks/when_exact.py --data <folder of BEIR sets> --output <file>
    python benchmarks/when_exact.py --table <file>
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
from beir import load_set
from builtin_model.command_line import options, write_and_show
from calibration import KINDS, texts
from million_data import Data
from processor import machine

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.search import _best_rows
from cde_retrievers.validation.vectors import Embeddings

SHARES, HITS, QUERIES = (1, 0.4, 0.2, 0.1), (10, 100, 250, 1_000), 20
DRAWN = 100_000


def index_of(encoder: ContextualEncoder, vectors: Embeddings, kind: Kind, folder: str) -> ContextualIndex:
    """An index of vectors, with short texts."""
    context = encoder.fit_context(["one text", "another text"])
    index = ContextualIndex.create(encoder, context, f"{folder}/index", kind=kind)
    documents = [Document(f"text {row}", id=str(row)) for row in range(len(vectors))]
    index.add_embedded(documents, vectors, context.fingerprint)
    return index


def milliseconds(search: Callable[[Embeddings], Any], query: Embeddings) -> float:
    """Processor time of one search."""
    start = time.process_time()
    search(query[None])
    return 1e3 * (time.process_time() - start)


def rows_of(index: ContextualIndex, queries: Embeddings) -> Iterator[dict[str, Any]]:
    """What both take, for each share and number of hits."""
    snapshot, random = index._current.snapshot, np.random.default_rng(0)
    accelerator = snapshot.accelerator
    assert accelerator is not None
    for share in SHARES:
        allowed = snapshot.live & (random.random(len(snapshot.live)) < share)
        for k in HITS:
            ways: dict[str, Callable[[Embeddings], Any]] = {
                "candidates": lambda query, k=k, allowed=allowed: _best_rows(
                    snapshot, query, k, allowed, accelerator, None
                ),
                "exact": lambda query, k=k, allowed=allowed: _best_rows(snapshot, query, k, allowed, None, None),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for query in queries:
                for name, search in ways.items():
                    times[name].append(milliseconds(search, query))
            chosen = "candidates" if accelerator.is_worthwhile(k, allowed) else "exact"
            yield {
                "effort": accelerator._effort,
                "share": share,
                "k": k,
                "chosen": chosen,
                "ms": {name: round(median(taken), 3) for name, taken in times.items()},
            }


def run(data: Path) -> dict[str, Any]:
    """Both collections, in an index of each kind."""
    faiss.omp_set_num_threads(1)
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu")
    indexed, _ = texts(data)
    context = encoder.fit_context(indexed)
    questions = load_set(data / "conala", "train", QUERIES).queries
    rows = []
    with TemporaryDirectory() as folder:
        drawn = Data(Path(folder), DRAWN)
        collections = {
            "real": (encoder.encode_documents(indexed, context), encoder.encode_queries(questions, context)),
            "drawn": (np.asarray(drawn.vectors), drawn.queries[:QUERIES]),
        }
        for name, (vectors, queries) in collections.items():
            for kind in KINDS:
                with TemporaryDirectory() as inner:
                    index = index_of(encoder, vectors, kind, inner)
                    found = [{"documents": name, "kind": kind, **row} for row in rows_of(index, queries)]
                rows += found
    return {"machine": machine(["faiss-cpu", "numpy"]), "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Milliseconds with candidates / exactly, for each number of hits; what an index chooses in bold."""
    heads = ["documents", "kind", "pass", *(f"{k:,} hits" for k in HITS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for start in range(0, len(result["rows"]), len(HITS)):
        rows = result["rows"][start : start + len(HITS)]
        cells = [rows[0]["documents"], rows[0]["kind"], f"{100 * rows[0]['share']:.0f} %"]
        for row in rows:
            both = (f"**{ms:.1f}**" if name == row["chosen"] else f"{ms:.1f}" for name, ms in row["ms"].items())
            cells.append(" / ".join(both))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is not None:
        write_and_show(run(arguments.data), arguments.output, table)


if __name__ == "__main__":
    main()
