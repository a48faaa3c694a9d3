"""Speed of `joint` at the full size of cde-small-v2, against a straightforward forward, in one run.

    python benchmarks/joint_forward.py --output benchmarks/results/joint_forward.json

Random weights, 512 context vectors. The straightforward forward does for every batch what depends on weights or context
alone: it computes the soft prompt, joins it to the context and copies both for each text; texts come in the order
given, padded to the longest of their batch. Ours prepares the context once and batches texts of similar length. Both
alternate; the ratio is that of their median times.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cde_retrievers import ContextualModel
from cde_retrievers.encoder.batching import length_sorted_batches
from cde_retrievers.encoder.device import default_padding_limit, default_token_budget
from cde_retrievers.encoder.tokenizer import TokenIds
from cde_retrievers.model.config import ContextualConfig, JointConditioning
from cde_retrievers.model.joint_conditioning import JointSecondStage
from cde_retrievers.model.released import PROMPTS
from cde_retrievers.model.releases import RELEASES

CONTEXT_SIZE = 512
# Texts per workload; the last is a mixture in random order, as a corpus is.
WORKLOADS = {"16": [16] * 4, "64": [64] * 4, "256": [256] * 4, "16, 64 and 256 mixed": [16, 64, 256] * 4}
BATCH = 4


def full_size_second_stage() -> JointSecondStage:
    """The second stage of a random cde-small-v2."""
    release = next(r for r in RELEASES if r.model_type == "modernbert")
    conditioning = JointConditioning(variant="train", context_slots=CONTEXT_SIZE, instruction_end=27)
    backbone = {"model_type": release.model_type, **release.backbone}
    torch.manual_seed(0)
    stage = (
        ContextualModel(ContextualConfig(conditioning=conditioning, backbone=backbone, **PROMPTS)).eval().second_stage
    )
    assert isinstance(stage, JointSecondStage)
    return stage


def pad(rows: list[TokenIds]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, filled up on the right."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids, mask


def straightforward(stage: JointSecondStage, context: Tensor, rows: list[TokenIds]) -> Tensor:
    """Everything for every batch, and a copy of the context for every text."""
    results = []
    for start in range(0, len(rows), BATCH):
        ids, mask = pad(rows[start : start + BATCH])
        copies = context.expand(len(ids), -1, -1).contiguous()
        results.append(stage(ids, mask, copies))
    return torch.cat(results)


def ours(stage: JointSecondStage, context: Tensor, rows: list[TokenIds]) -> Tensor:
    """As the encoder does it: the context prepared once, texts of similar length together."""
    prefix = stage.prepare(context)
    before = stage.positions_before_text(prefix)
    result = torch.empty(len(rows), stage.width)
    limits = default_token_budget(context.device), default_padding_limit(context.device)
    for batch in length_sorted_batches([len(row) + before for row in rows], *limits):
        result[batch] = stage.embed(*pad([rows[i] for i in batch]), prefix)
    return result


def seconds(forward: Callable[[], Tensor]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    forward()
    return time.perf_counter() - start


def table(result: dict[str, Any]) -> str:
    """Texts per second of both ways, by the lengths of the texts."""
    lines = ["| tokens of a text | straightforward, texts a second | batched by length | ratio |", "|---" * 4 + "|"]
    for row in result["rows"]:
        slow, fast = row["straightforward_texts_per_second"], row["ours_texts_per_second"]
        lines.append(f"| {row['tokens']} | {slow:.2f} | {fast:.2f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Time every workload and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    stage = full_size_second_stage()
    generator = np.random.default_rng(0)
    context = torch.randn(CONTEXT_SIZE, stage.width, generator=torch.Generator().manual_seed(0))
    rows = []
    for name, lengths in WORKLOADS.items():
        texts = [generator.integers(100, 40_000, length) for length in generator.permutation(lengths)]
        with torch.inference_mode():
            gap = (straightforward(stage, context, texts) - ours(stage, context, texts)).abs().max()
            assert gap < 1e-3, f"the two disagree by {gap}"
            times = [
                (seconds(lambda: straightforward(stage, context, texts)), seconds(lambda: ours(stage, context, texts)))  # noqa: B023
                for _ in range(arguments.repeats)
            ]
        slow, fast = np.median(times, axis=0)
        rows.append({"tokens": name, "texts": len(texts), "straightforward_texts_per_second": len(texts) / slow,
                     "ours_texts_per_second": len(texts) / fast, "ratio": slow / fast})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    result = {"threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
