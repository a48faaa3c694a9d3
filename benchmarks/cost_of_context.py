"""What a text costs under a context: processor time and memory over those of the plain bi-encoder.

    python benchmarks/cost_of_context.py --output benchmarks/results/cost_of_context.json

Random weights of all-MiniLM-L6-v2's shape, one thread, no padding. A bi-encoder and the conditionings embed the same
batch in turn; a ratio is the median of the ratios of each turn. `cached` is also measured with the context copied for
every text, which is how it runs where gradients are needed. Memory is the most that a process (Linux) held while it
embedded a batch, over what it held before: weights and the prepared context.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cde_retrievers import ContextualModel
from cde_retrievers.model.config import CachedConditioning, ContextualConfig, JointConditioning

_BACKBONE = {
    "model_type": "bert",
    "vocab_size": 30_522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1_536,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONTEXTS = (64, 128, 256, 512)
# Tokens of a text, and texts of a batch.
CACHED_BATCHES = ((16, 1), (16, 32), (64, 1), (64, 32), (128, 16), (256, 8))
JOINT_BATCHES = ((16, 4), (64, 4), (256, 4))
MEMORY_BATCH = (64, 32)
TURNS = 9

Work = Callable[[], Tensor]


def model_of(conditioning: CachedConditioning | JointConditioning) -> ContextualModel:
    """A model with random weights, whose context matters."""
    torch.manual_seed(0)
    model = ContextualModel(ContextualConfig(conditioning=conditioning, backbone=_BACKBONE))
    if isinstance(conditioning, CachedConditioning):
        torch.nn.init.constant_(model.second_stage.get_parameter("gate"), 0.5)
    return model.eval().requires_grad_(False)


def batch_of(tokens: int, texts: int) -> tuple[Tensor, Tensor]:
    """Random token ids and a mask without padding."""
    ids = torch.randint(1_000, 30_000, (texts, tokens), generator=torch.Generator().manual_seed(0))
    return ids, torch.ones_like(ids)


def works(model: ContextualModel, context: int, batch: tuple[Tensor, Tensor]) -> dict[str, Work]:
    """The bi-encoder and the second stage under a context of that size, as functions to time."""
    vectors = torch.randn(context, model.width, generator=torch.Generator().manual_seed(1))
    prepared = model.second_stage.prepare(vectors)

    def plain() -> Tensor:
        with torch.no_grad():
            pooled: Tensor = model.first_stage.pooled(*batch)
            return pooled

    def conditioned() -> Tensor:
        with torch.no_grad():
            return model.second_stage.embed(*batch, prepared)

    def copied() -> Tensor:
        with torch.enable_grad():  # no weight requires a gradient, so that no graph is kept
            return model.second_stage.embed(*batch, prepared)

    found = {"plain": plain, "conditioned": conditioned}
    return found if model.config.conditioning.kind == "joint" else {**found, "copied": copied}


def ratios(timed: dict[str, Work], turns: int) -> dict[str, float]:
    """The processor time of each over that of `plain`: the median over turns, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in timed if name != "plain"}
    for turn in range(turns + 1):
        seconds = {}
        for name, work in timed.items():
            begun = time.process_time()
            work()
            seconds[name] = time.process_time() - begun
        for name, taken in found.items():
            if turn:
                taken.append(seconds[name] / seconds["plain"])
    return {name: round(statistics.median(taken), 3) for name, taken in found.items()}


def memory_here(name: str) -> float:
    """The most that this process held during a call on a batch, in MB, over what it held before."""
    model = model_of(CachedConditioning())
    works(model, max(CONTEXTS), batch_of(1, 1))[name]()
    work = works(model, max(CONTEXTS), batch_of(*MEMORY_BATCH))[name]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here
    before = _peak_mb()
    work()
    return _peak_mb() - before


def _peak_mb() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def cached_rows(turns: int) -> list[dict[str, Any]]:
    """`cached` by context, tokens and texts."""
    model = model_of(CachedConditioning())
    return [
        {"context": context, "tokens": tokens, "texts": texts}
        | ratios(works(model, context, batch_of(tokens, texts)), turns)
        for context in (64, 512)
        for tokens, texts in CACHED_BATCHES
    ]


def joint_rows(turns: int) -> list[dict[str, Any]]:
    """`joint` by context and tokens."""
    model = model_of(JointConditioning())
    return [
        {"context": context, "tokens": tokens, "texts": texts}
        | ratios(works(model, context, batch_of(tokens, texts)), turns)
        for context in CONTEXTS
        for tokens, texts in JOINT_BATCHES
    ]


def memory() -> dict[str, float]:
    """Memory of one batch under `cached` with the largest context, in MB, each in a process of its own."""
    # Large blocks go back to the system when freed, so that the peak is of what was held, not of what malloc keeps.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    found = {}
    for name in ("plain", "conditioned", "copied"):
        command = [sys.executable, __file__, "--memory", name]
        output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        found[name] = round(float(output), 1)
    return found


def cached_table(result: dict[str, Any]) -> str:
    """Cost of `cached` by the texts of a batch, under two contexts."""
    found = {(row["tokens"], row["texts"], row["context"]): row for row in result["cached"]}
    lines = [
        "| tokens of a text | texts of a batch | 512 context documents | copied for every text | 64 | copied |",
        "|---" * 6 + "|",
    ]
    for tokens, texts in dict.fromkeys((row["tokens"], row["texts"]) for row in result["cached"]):
        cells = [
            f"{found[tokens, texts, context][way]:.2f}" for context in (512, 64) for way in ("conditioned", "copied")
        ]
        lines.append(f"| {tokens} | {texts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def joint_table(result: dict[str, Any]) -> str:
    """Cost of `joint` by the size of the context and the tokens of a text."""
    lengths = list(dict.fromkeys(row["tokens"] for row in result["joint"]))
    found = {(row["context"], row["tokens"]): row["conditioned"] for row in result["joint"]}
    lines = [f"| context documents | {' | '.join(f'{length} tokens' for length in lengths)} |"]
    lines.append("|---" * (1 + len(lengths)) + "|")
    for context in dict.fromkeys(row["context"] for row in result["joint"]):
        lines.append(f"| {context} | {' | '.join(f'{found[context, length]:.1f}' for length in lengths)} |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """Both tables."""
    return f"{cached_table(result)}\n\n{joint_table(result)}"


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--memory", help="memory of one way in this process, printed in MB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(memory_here(arguments.memory))
        return
    result = {
        "machine": {
            "architecture": platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        },
        "memory_mb": memory(),
        "cached": cached_rows(arguments.turns),
        "joint": joint_rows(arguments.turns),
    }
    print(table(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
