"""What makes `joint` cheaper: fewer context vectors, and batching, at the width of cde-small-v2.

    python benchmarks/joint_cost.py --output benchmarks/results/joint_cost.json

Random weights of cde-small-v2's architecture with the first 5 of its 22 layers, so that a small machine can do it. Both
sides of every ratio have the same layers, and about the same share of layers attends to everything. One
thread, no padding, processor time. A plain text is one that the same bi-encoder reads without a context. All rows run
in turn; a ratio is the median of those of every turn. bfloat16 is measured where the processor has it.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch
from cost_of_context import Work, ratios
from processor import has_native_bf16
from torch import Tensor

from cde_retrievers import ContextualModel
from cde_retrievers.model.config import ContextualConfig, JointConditioning
from cde_retrievers.model.released import PROMPTS
from cde_retrievers.model.releases import RELEASES

CONTEXTS = (512, 256, 128, 64)
TOKENS = (64, 256)
LAYERS, BATCH, TURNS = 5, 4, 2


def part_of_v2() -> ContextualModel:
    """A random model."""
    release = next(r for r in RELEASES if r.model_type == "modernbert")
    backbone = {"model_type": release.model_type, **release.backbone, "num_hidden_layers": LAYERS}
    backbone["layer_types"] = backbone["layer_types"][:LAYERS]
    torch.manual_seed(0)
    conditioning = JointConditioning(variant="train", instruction_end=27)
    model = ContextualModel(ContextualConfig(conditioning=conditioning, backbone=backbone, **PROMPTS))
    return model.eval().requires_grad_(False)


def work_of(model: ContextualModel, context: int | None, tokens: int, texts: int) -> Work:
    """Embed that many texts, each of that many tokens, under a context of that size, or plain."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1_000, 30_000, (texts, tokens), generator=generator)
    mask = torch.ones_like(ids)

    @torch.inference_mode()
    def plain() -> Tensor:
        pooled: Tensor = model.first_stage.pooled(ids, mask)
        return pooled

    if context is None:
        return plain
    vectors = torch.randn(context, model.width, generator=generator)
    with torch.inference_mode():
        prepared = model.second_stage.prepare(vectors)

    @torch.inference_mode()
    def conditioned() -> Tensor:
        return model.second_stage.embed(ids, mask, prepared)

    return conditioned


def ways(model: ContextualModel, tokens: int) -> dict[str, Work]:
    """What is compared for texts of one length, by the name of its row."""
    found = {"plain": work_of(model, None, tokens, BATCH)}
    found |= {f"context {context}": work_of(model, context, tokens, BATCH) for context in CONTEXTS}
    one = work_of(model, CONTEXTS[0], tokens, 1)
    found["one text at a time"] = lambda: torch.cat([one() for _ in range(BATCH)])
    return found


def in_bf16(tokens: int) -> dict[str, Work]:
    """The largest context in bfloat16; nothing where the processor lacks it."""
    if not has_native_bf16():
        return {}
    return {"bfloat16": work_of(part_of_v2().bfloat16(), CONTEXTS[0], tokens, BATCH)}


def table(result: dict[str, Any]) -> str:
    """What a text costs, as a multiple of a plain one, and as a share of what it costs as released."""
    rows: dict[str, dict[str, float]] = result["ratios"]
    heads = [f"{tokens} tokens | of as released" for tokens in rows]
    lines = [f"| joint | {' | '.join(heads)} | nDCG |", "|---" * (2 + 2 * len(rows)) + "|"]
    names = {f"context {CONTEXTS[0]}": f"{CONTEXTS[0]} context vectors, in batches (as released)"}
    names |= {f"context {context}": f"{context} context vectors" for context in CONTEXTS[1:]}
    names |= {"one text at a time": f"{CONTEXTS[0]}, one text at a time", "bfloat16": f"{CONTEXTS[0]}, bfloat16"}
    for name, label in names.items():
        cells = []
        for found in rows.values():
            if name in found:
                cells += [f"{found[name]:.1f}", f"{found[name] / found[f'context {CONTEXTS[0]}']:.2f}"]
            else:
                cells += ["not measured"] * 2
        exact = "the released" if name in (f"context {CONTEXTS[0]}", "one text at a time") else "not measured"
        lines.append(f"| {label} | {' | '.join(cells)} | {exact} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = part_of_v2()
    found = {str(tokens): ratios(ways(model, tokens) | in_bf16(tokens), arguments.turns) for tokens in arguments.tokens}
    result = {
        "machine": {
            "architecture": platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        },
        "layers": LAYERS,
        "texts": BATCH,
        "turns": arguments.turns,
        "ratios": found,
    }
    print(table(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
