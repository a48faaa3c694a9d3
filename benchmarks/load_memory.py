"""Peak memory of loading a released model at full size, against the size of its file.

    python benchmarks/load_memory.py --output benchmarks/results/load_memory.json

The checkpoint is made here, in the published layout with random weights; each load runs in its own process (Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from cde_retrievers import ContextualModel
from cde_retrievers.model.config import ContextualConfig, JointConditioning
from cde_retrievers.model.released import PROMPTS
from cde_retrievers.model.releases import RELEASES

# VmHWM, since the peak that getrusage reports starts with that of the process that forked.
_LOAD = """
import json, sys
from pathlib import Path
from cde_retrievers import ContextualModel

def peak_mb():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

imports = peak_mb()
model = ContextualModel.from_pretrained(sys.argv[1])
parameters = sum(p.numel() for p in model.parameters())
print(json.dumps({"imports_mb": imports, "peak_mb": peak_mb(), "parameters": parameters}))
"""


def write_random_checkpoint(model_type: str, folder: Path) -> float:
    """Write a full-size model with random weights; returns the size of its weights in MB."""
    release = next(r for r in RELEASES if r.model_type == model_type)
    conditioning = JointConditioning(variant="train", context_slots=512)
    backbone = {"model_type": model_type, **release.backbone}
    torch.manual_seed(0)
    model = ContextualModel(ContextualConfig(conditioning=conditioning, backbone=backbone, **PROMPTS))
    model.export_published_layout(folder)
    return (folder / "model.safetensors").stat().st_size / 2**20


def table(result: list[dict[str, Any]]) -> str:
    """Peak memory of loading, by model."""
    lines = ["| backbone | file | peak memory, imports and all | peak / file |", "|---" * 4 + "|"]
    for row in result:
        ratio = row["peak_mb"] / row["file_mb"]
        lines.append(f"| {row['model']} | {row['file_mb']:,.0f} MB | {row['peak_mb']:,.0f} MB | {ratio:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure both released sizes and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for model_type in ("nomic_bert", "modernbert"):
        with tempfile.TemporaryDirectory() as scratch:
            size = write_random_checkpoint(model_type, Path(scratch) / "model")
            command = [sys.executable, "-c", _LOAD, str(Path(scratch) / "model")]
            measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        measured["limit_mb"] = 1.3 * size + 500
        rows.append({"model": model_type, "file_mb": size, **measured})
        print(json.dumps(rows[-1]), flush=True)
    arguments.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
