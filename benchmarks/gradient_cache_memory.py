"""Peak memory of one training step as the batch grows, with the gradient cache at a fixed chunk size and without it.

    python benchmarks/gradient_cache_memory.py --output benchmarks/results/gradient_cache_memory.json

A six-layer encoder of width 384 with random weights under `cached` conditioning; each step runs in its own process, on
the CPU (Linux). Stored vectors, which grow with the batch by design, are counted and taken off: embeddings and their
gradients, scores and what the loss makes of them.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from cde_retrievers import ContextualModel
from cde_retrievers.model.config import CachedConditioning, ContextualConfig
from cde_retrievers.training.contrastive_model import ContrastiveModel

CHUNK, CONTEXT, LENGTH, WIDTH, VOCABULARY = 64, 64, 16, 384, 2_000
BATCHES = (64, 128, 256, 512, 1024)
PLAIN_UP_TO = 256
LIMIT = 0.15
_BACKBONE = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1_536,
    "hidden_act": "gelu",
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


def peak_mb() -> float:
    """Most memory that this process ever held, in MB."""
    # VmHWM, since the peak that getrusage reports starts with that of the process that forked.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def objective(chunk_size: int | None) -> ContrastiveModel:
    """A model of the benchmark's size, in training mode."""
    torch.manual_seed(0)
    config = ContextualConfig(conditioning=CachedConditioning(), backbone=_BACKBONE, max_length=64)
    model = ContextualModel(config)
    with torch.no_grad():
        model.second_stage.get_parameter("gate").fill_(0.5)
    return ContrastiveModel(model, chunk_size=chunk_size).train()


def step(batch: int) -> dict[str, torch.Tensor]:
    """Random tokens for `batch` pairs and the context."""
    tokens = {}
    for name, rows in {"query": batch, "document": batch, "context": CONTEXT}.items():
        tokens[f"{name}_input_ids"] = torch.randint(1, VOCABULARY, (rows, LENGTH))
        tokens[f"{name}_attention_mask"] = torch.ones(rows, LENGTH, dtype=torch.long)
    return tokens


def stored_mb(batch: int) -> float:
    """What the whole batch keeps: embeddings of both sides, each with its copies, and five squares of scores."""
    embeddings = 2 * batch * WIDTH
    # Rows of the chunks, rows in order, normalised rows, and the gradients of each.
    return 4 * (6 * embeddings + 5 * batch * batch) / 2**20


def measure_here(batch: int, chunk_size: int | None) -> dict[str, float]:
    """One step in this process."""
    model = objective(chunk_size)
    tokens = step(batch)
    # Gradients exist in every step but the first, whatever the batch.
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = peak_mb()
    model(**tokens)["loss"].backward()
    return {"before_mb": before, "peak_mb": peak_mb(), "stored_mb": stored_mb(batch)}


def measure(batch: int, chunk_size: int | None) -> dict[str, object]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--batch", str(batch), "--chunk", str(chunk_size or 0)]
    # Large blocks go back to the system when freed, so that the peak is of what was held, not of what malloc keeps.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    found = json.loads(output)
    step_mb = found["peak_mb"] - found["before_mb"]
    row = {"batch": batch, "chunk_size": chunk_size, **found, "step_mb": step_mb}
    row["step_without_stored_mb"] = step_mb - found["stored_mb"]
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}


def table(result: dict[str, Any]) -> str:
    """Memory of a step by batch size, with gradient caching and without."""
    found = {(row["batch"], row["chunk_size"] is not None): row for row in result["rows"]}
    lines = ["| pairs of a batch | gradient caching | stored vectors in it | plain graph |", "|---" * 4 + "|"]
    for batch in dict.fromkeys(row["batch"] for row in result["rows"]):
        cached, plain = found[batch, True], found.get((batch, False))
        shown = "" if plain is None else f"{plain['step_mb']:,.0f} MB"
        lines.append(f"| {batch:,} | {cached['step_mb']:,.0f} MB | {cached['stored_mb']:.0f} MB | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every batch size and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--batch", type=int, help="one step in this process, printed as JSON")
    parser.add_argument("--chunk", type=int, default=0, help="with --batch: the chunk size, 0 for the plain graph")
    arguments = parser.parse_args()
    if arguments.batch:
        print(json.dumps(measure_here(arguments.batch, arguments.chunk or None)))
        return
    rows = []
    for batch in BATCHES:
        for chunk_size in [CHUNK, None] if batch <= PLAIN_UP_TO else [CHUNK]:
            rows.append(measure(batch, chunk_size))
            print(json.dumps(rows[-1]), flush=True)
    cached = [float(str(row["step_without_stored_mb"])) for row in rows if row["chunk_size"]]
    growth = max(cached) / min(cached) - 1
    result = {
        "settings": {
            "chunk_size": CHUNK,
            "context": CONTEXT,
            "tokens": LENGTH,
            "width": WIDTH,
            "torch": torch.__version__,
        },
        "cached_growth_without_stored": round(growth, 3),
        "within_limit": growth <= LIMIT,
        "rows": rows,
    }
    print(table(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
