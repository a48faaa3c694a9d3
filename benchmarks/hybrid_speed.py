"""What hybrid search costs beside dense search, from a thousand documents to a million.

Documents are real texts, each the halves of two, so that there are a million different ones; their vectors are drawn at
random, since only their number matters to exact search. Queries are real questions, embedded already: the encoder is
not measured. Modes are timed in alternation on the same index, one query at a time.

python benchmarks/hybrid_speed.py --data <folder of BEIR sets> --output <file>
python benchmarks/hybrid_speed.py --table <file>
"""

import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from beir import load_documents, load_set
from builtin_model.command_line import options, write_and_show

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import ContextualIndex, Document

SETS = ("squad-train-part", "natural-questions", "debian-packages", "python-docstrings", "software-manuals")
QUESTIONS = "natural-questions"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUERIES, K, AT_A_TIME = 200, 10, 10_000


def documents(texts: list[str], size: int) -> Iterator[Document]:
    """Texts made of the first half of one and the second half of another."""
    for row in range(size):
        first, second = texts[row % len(texts)], texts[(row * 7 + row // len(texts)) % len(texts)]
        yield Document(f"{first[: len(first) // 2]} {second[len(second) // 2 :]}", id=str(row))


def unit_rows(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Return random unit vectors (count, width) float32."""
    rows = random.standard_normal((count, width), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measured(texts: list[str], questions: list[str], size: int) -> dict[str, Any]:
    """Build an index of that many documents, and time the modes of its search."""
    encoder = ContextualEncoder.from_pretrained("minilm", dtype="float32")
    context = encoder.fit_context([document.text for document in documents(texts, min(size, 5_000))])
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        index = ContextualIndex.create(encoder, context, f"{folder}/index")
        batch, start = [], time.perf_counter()
        for document in documents(texts, size):
            batch.append(document)
            if len(batch) == min(size, AT_A_TIME):
                index.add_embedded(batch, unit_rows(random, len(batch), encoder.width), context.fingerprint)
                batch = []
        seconds = time.perf_counter() - start
        index.optimize()
        sizes = {
            name: round(sum(path.stat().st_size for path in index.path.rglob(f"{name}.*")) / 2**20, 1)
            for name in ("vectors", "postings", "documents")
        }
        start = time.perf_counter()
        index = ContextualIndex.open(index.path, encoder)
        opened = time.perf_counter() - start
        queries = unit_rows(random, len(questions), encoder.width)
        return {
            "documents": size,
            "add_seconds": round(seconds, 1),
            "open_seconds": round(opened, 2),
            "megabytes": sizes,
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "p50_ms": timed(index, queries, questions),
        }


def timed(index: ContextualIndex, queries: np.ndarray, questions: list[str]) -> dict[str, float]:
    """Median milliseconds of one query in each mode, the modes in alternation."""
    fingerprint = index.context.fingerprint
    seconds: dict[str, list[float]] = {"dense": [], "lexical": [], "hybrid": []}
    for row, question in enumerate(questions):
        vector = queries[row : row + 1]
        runs = {
            "dense": lambda vector=vector: index.search_embedded(vector, fingerprint, K),
            "lexical": lambda question=question: index.search(question, K, mode="lexical"),
            "hybrid": lambda vector=vector, question=question: index.search_embedded(
                vector, fingerprint, K, texts=[question]
            ),
        }
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: round(1e3 * float(np.median(found)), 3) for name, found in seconds.items()}


def table(result: dict[str, Any]) -> str:
    """Times and sizes by number of documents."""
    lines = [
        "| documents | dense | lexical | hybrid | hybrid ÷ dense | vectors | postings | documents | open |",
        "|---" * 9 + "|",
    ]
    for row in result["rows"]:
        times, sizes = row["p50_ms"], row["megabytes"]
        cells = " | ".join(f"{times[mode]:.1f} ms" for mode in ("dense", "lexical", "hybrid"))
        files = " | ".join(f"{sizes[name]:,.0f} MB" for name in ("vectors", "postings", "documents"))
        ratio = times["hybrid"] / times["dense"]
        lines.append(f"| {row['documents']:,} | {cells} | {ratio:.2f} | {files} | {row['open_seconds']:.1f} s |")
    return "\n".join(lines)


def main() -> None:
    """Print and write one row per size, or print the table of a result."""
    arguments = options(__doc__ or "", table)
    if arguments is None:
        return
    texts = [text for name in SETS for text in load_documents(arguments.data / name)]
    questions = list(load_set(arguments.data / QUESTIONS, "test", QUERIES).queries)
    rows = []
    for size in SIZES:
        rows.append(measured(texts, questions, size))
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "command": f"python benchmarks/hybrid_speed.py --data ../shared/data --output {arguments.output}",
        "settings": {"sets": SETS, "questions": QUESTIONS, "queries": QUERIES, "k": K},
        "packages": {name: version(name) for name in ("numpy", "scipy")},
        "machine": platform.machine(),
        "rows": rows,
    }
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
