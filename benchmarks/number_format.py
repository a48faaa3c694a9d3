"""What bfloat16 changes: scores, scores between batches, rankings and time of the built-in model on a CPU.

    python benchmarks/number_format.py --output benchmarks/results/number_format.json

The corpus is every fourth generic text of the package, searched by the first words of some of them under their own
context, which is fitted once, in float32. Every query is embedded alone and in a batch of 32. The ratio of times is
that of the medians of alternating runs, in processor time; without native bfloat16 it lies above 1.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from processor import has_native_bf16

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.context.generic import generic_texts

FORMATS = ("float32", "bfloat16")
TEXTS = generic_texts()[::4]
QUERIES = [" ".join(text.split()[:8]) for text in TEXTS[::2]]
BATCH, TOP = 32, 10
TIMED_TEXTS, TIMED_RUNS = 16, 5


def scores_of(encoder: ContextualEncoder, context: CorpusContext, documents: np.ndarray, batch: int) -> np.ndarray:
    """Scores of queries embedded `batch` at a time: (queries, texts)."""
    rows = [encoder.encode_queries(QUERIES[i : i + batch], context) for i in range(0, len(QUERIES), batch)]
    return np.concatenate(rows) @ documents.T


def difference(first: np.ndarray, second: np.ndarray) -> dict[str, float | int]:
    """How far two tables of scores are apart, and for how many queries the best texts are others."""
    apart = np.abs(first - second)
    best, other = (np.argsort(-scores, axis=1, kind="stable")[:, :TOP] for scores in (first, second))
    return {
        "largest": round(float(apart.max()), 8),
        "mean": round(float(apart.mean()), 8),
        "queries_with_another_order_in_the_top_10": int((best != other).any(axis=1).sum()),
        "queries_with_another_text_in_the_top_10": int((np.sort(best) != np.sort(other)).any(axis=1).sum()),
        "queries_with_another_first_text": int((best[:, 0] != other[:, 0]).sum()),
    }


def ratio_of_times(first: Callable[[], object], second: Callable[[], object]) -> float:
    """The median processor time of the first over that of the second, run in turn."""
    times: dict[Callable[[], object], list[float]] = {first: [], second: []}
    for _ in range(TIMED_RUNS):
        for work, seconds in times.items():
            begun = time.process_time()
            work()
            seconds.append(time.process_time() - begun)
    return statistics.median(times[first]) / statistics.median(times[second])


def machine() -> dict[str, Any]:
    """What the figures of time depend on."""
    return {
        "architecture": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "native_bfloat16": has_native_bf16(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def table(result: dict[str, Any]) -> str:
    """How far scores are apart, and for how many queries the best texts are others."""
    compared = {
        "bfloat16 against float32": result["bfloat16_against_float32"],
        **{f"{name}, alone against in a batch": row for name, row in result["alone_against_in_a_batch_of_32"].items()},
    }
    lines = [
        "| scores | largest difference | another order in the top 10 | another text in it | another first text |",
        "|---" * 5 + "|",
    ]
    for name, row in compared.items():
        counts = [row[f"queries_with_another_{what}"] for what in ("order_in_the_top_10", "text_in_the_top_10")]
        cells = [f"{count} of {result['queries']}" for count in (*counts, row["queries_with_another_first_text"])]
        lines.append(f"| {name} | {row['largest']:.7f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all of it and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    encoders = {name: ContextualEncoder.from_pretrained("minilm", device="cpu", dtype=name) for name in FORMATS}
    context = encoders["float32"].fit_context(TEXTS)
    alone, batched = {}, {}
    for name, encoder in encoders.items():
        documents = encoder.encode_documents(TEXTS, context)
        alone[name] = scores_of(encoder, context, documents, batch=1)
        batched[name] = scores_of(encoder, context, documents, batch=BATCH)
    result = {
        "model": "minilm",
        "texts": len(TEXTS),
        "queries": len(QUERIES),
        "bfloat16_against_float32": difference(alone["bfloat16"], alone["float32"]),
        "alone_against_in_a_batch_of_32": {name: difference(alone[name], batched[name]) for name in FORMATS},
        "time_bfloat16_over_float32": ratio_of_times(
            lambda: encoders["bfloat16"].encode_documents(TEXTS[:TIMED_TEXTS], context),
            lambda: encoders["float32"].encode_documents(TEXTS[:TIMED_TEXTS], context),
        ),
        "machine": machine(),
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
