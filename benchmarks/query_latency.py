"""What one query costs from text to hits, part by part, beside sentence-transformers with a flat faiss index.

Documents are real texts, each the halves of two; their vectors are drawn at random, since only their number matters to
exact search. Questions are real and come one at a time. All ways are timed in alternation, question by question, on
the same weights, in torch and float32 unless a backend is named, with one thread; bfloat16 where the processor has it.
Times are the processor time of this process, so that other work on the machine does not count, and wall time beside it.

python benchmarks/query_latency.py --data <folder of BEIR sets> --output <file>
python benchmarks/query_latency.py --table <file>
"""

import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import faiss
import numpy as np
import torch
from beir import load_documents, load_set
from builtin_model.command_line import options, write_and_show
from hybrid_speed import QUESTIONS, SETS, K, documents, unit_rows
from number_format import machine
from processor import has_native_bf16
from sentence_transformers import SentenceTransformer

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.model.pretrained import minilm_folder

DOCUMENTS, QUERIES, WARM_UP = 10_000, 300, 20
BACKENDS = (
    *("torch-bfloat16", "onnx-float32", "onnx-int8"),
    *("openvino-float32", "openvino-bfloat16", "openvino-int8"),
)
PEER = "sentence-transformers + faiss"


def ways(texts: list[str], folder: str) -> dict[str, Callable[[str], Any]]:
    """Return what is timed by name, each from a question to its answer."""
    encoder = ContextualEncoder.from_pretrained("minilm", dtype="float32")
    context = encoder.fit_context([document.text for document in documents(texts, 5_000)])
    index = ContextualIndex.create(encoder, context, f"{folder}/index")
    batch = list(documents(texts, DOCUMENTS))
    vectors = unit_rows(np.random.default_rng(0), len(batch), encoder.width)
    index.add_embedded(batch, vectors, context.fingerprint)
    names = [name for name in BACKENDS if has_native_bf16() or not name.endswith("bfloat16")]
    others = {name: searcher(index, batch, vectors, *name.split("-"), folder=folder) for name in names}
    peer = SentenceTransformer(str(minilm_folder()), device="cpu")
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    known = [document.text for document in batch]

    def peer_embeds(question: str) -> np.ndarray:
        return peer.encode([question], normalize_embeddings=True, show_progress_bar=False)

    def peer_searches(question: str) -> list[str]:
        return [known[row] for row in flat.search(peer_embeds(question), K)[1][0]]

    return {
        "sentence-transformers: embed": peer_embeds,
        PEER: peer_searches,
        "contextual: embed": lambda question: encoder.encode_queries([question], context, show_progress=False),
        "contextual: search dense": lambda question: index.search(question, K, mode="dense"),
        "contextual: search hybrid": lambda question: index.search(question, K, mode="hybrid"),
        **{f"contextual, {name}: search hybrid": search for name, search in others.items()},
    }


def searcher(
    index: ContextualIndex, batch: list[Document], vectors: np.ndarray, backend: str, precision: str, folder: str
) -> Callable[[str], Any]:
    """Return the hybrid search of the same documents by the same model in a backend; int8 is a model of its own."""
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
    if encoder.fingerprint == index.context.model_fingerprint:
        other = ContextualIndex.open(index.path, encoder)
    else:
        context = encoder.fit_context([document.text for document in batch[:5_000]])
        other = ContextualIndex.create(encoder, context, f"{folder}/{backend}-{precision}")
        other.add_embedded(batch, vectors, context.fingerprint)
    return lambda question: other.search(question, K, mode="hybrid")


def timed(runs: dict[str, Callable[[str], Any]], questions: list[str]) -> list[dict[str, Any]]:
    """Time every way on every question, one after the other; return a row per way."""
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    for number, question in enumerate(questions):
        for name, run in runs.items():
            before = time.process_time(), time.perf_counter()
            run(question)
            if number >= WARM_UP:
                cpu[name].append(1e3 * (time.process_time() - before[0]))
                wall[name].append(1e3 * (time.perf_counter() - before[1]))
    return [
        {
            "way": name,
            "cpu_p50_ms": round(float(np.percentile(cpu[name], 50)), 2),
            "cpu_p99_ms": round(float(np.percentile(cpu[name], 99)), 2),
            "wall_p50_ms": round(float(np.percentile(wall[name], 50)), 2),
            "wall_p99_ms": round(float(np.percentile(wall[name], 99)), 2),
            "ratio": round(float(np.median(np.divide(cpu[name], cpu[PEER]))), 3),
        }
        for name in runs
    ]


def table(result: dict[str, Any]) -> str:
    """Processor time by way, and its ratio to the peer on the same question."""
    lines = ["| one query | p50 | p99 | of the peer |", "|---|---|---|---|"]
    for row in result["rows"]:
        times = f"{row['cpu_p50_ms']:.1f} ms | {row['cpu_p99_ms']:.1f} ms"
        lines.append(f"| {row['way']} | {times} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print and write a row per way, or print the table of a result."""
    arguments = options(__doc__ or "", table)
    if arguments is None:
        return
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    texts = [text for name in SETS for text in load_documents(arguments.data / name)]
    questions = list(load_set(arguments.data / QUESTIONS, "test", QUERIES + WARM_UP).queries)
    with tempfile.TemporaryDirectory() as folder:
        rows = timed(ways(texts, folder), questions)
    result = {
        "command": f"python benchmarks/query_latency.py --data ../shared/data --output {arguments.output}",
        "settings": {"documents": DOCUMENTS, "queries": QUERIES, "k": K, "threads": 1, "peer": PEER},
        "packages": {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "faiss-cpu")},
        "machine": machine(),
        "rows": rows,
    }
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
