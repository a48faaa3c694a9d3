r"""What int8 and bfloat16 cost the built-in model in nDCG@10, on sets to choose settings by and on evaluation sets.

    python benchmarks/builtin_model/precision.py --data ../shared/data \
        --output benchmarks/results/precision.json
    python benchmarks/builtin_model/precision.py --table benchmarks/results/precision.json

Exact search over all documents of each set under its own context, which each row fits by itself. What a backend does in
int8 was settled by the first sets; the others were looked at once, afterwards. Where the processor lacks bfloat16,
torch's row is "emulated": products of bfloat16 matrices are summed in float32, as processors with bfloat16 do, and the
row of OpenVINO is left out. A run that was interrupted goes on: what `--output` has is kept, and a table has what is
complete.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command_line import options
from in_points import cells
from in_points import interval as in_points
from sets import SEVEN
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import DeviceError
from cde_retrievers.evaluation import Contextual, FittedContext, RetrievalDataset, evaluate
from cde_retrievers.evaluation.metrics import MAIN, Interval, interval
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.storage.atomic import replace_bytes

sys.path.insert(0, str(Path(__file__).parents[1]))
from processor import has_native_bf16

SETS = {
    "chosen by": ("conala", "stackexchange-genai", "stackexchange-ai"),
    "evaluated": SEVEN,
}
EXACT = "torch float32"
ROWS = (EXACT, "onnx int8", "openvino int8", "openvino bfloat16", "torch bfloat16", "torch bfloat16 emulated")
PACKAGES = ("torch", "transformers", "numpy", "onnxruntime", "openvino", "nncf")

# nDCG@10 of each query, by set.
Figures = dict[str, list[float]]


class EmulatedBfloat16(TorchFunctionMode):
    """Computes linear layers in bfloat16 as a processor with such products does, by the kernels of float32.

    A product of two bfloat16 numbers is exact in float32, so only the order in which they are summed can differ, and
    sums are rounded to bfloat16 once. torch's own kernels for other processors take many times as long.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The layer in float32, rounded, where it is in bfloat16; anything else as it is."""
        if func is linear and args[0].dtype == torch.bfloat16:
            return linear(*(None if value is None else value.float() for value in args), **(kwargs or {})).bfloat16()
        return func(*args, **(kwargs or {}))


def encoder_of(row: str) -> ContextualEncoder | None:
    """The model in the backend and precision of the row; None where the processor is not one for it."""
    backend, precision, *emulated = row.split()
    if precision == "bfloat16" and has_native_bf16() == bool(emulated):
        return None
    try:
        return ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
    except DeviceError:
        return None


def searched(encoder: ContextualEncoder, data: RetrievalDataset) -> list[float]:
    """nDCG@10 of each query of a set, under the set's own context."""
    embedder = PrecomputedEmbedder(encoder, data)
    found = evaluate(Contextual(embedder, FittedContext(embedder.fit_context(data.texts))), data)
    return [round(float(value), 5) for value in found.values[MAIN]]


def read(data: Path, name: str) -> RetrievalDataset:
    """A set with the queries that judge, or with all of a training set."""
    return RetrievalDataset.read(data / name, "test" if (data / name / "qrels" / "test.tsv").exists() else "train")


def begun(output: Path) -> dict[str, Any]:
    """A result without figures, or the one that `output` has.

    Raises:
        SystemExit: it is of another processor or other packages.
    """
    common: dict[str, Any] = {
        "machine": {"architecture": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()},
        "packages": {name: version(name) for name in PACKAGES},
    }
    if not output.exists():
        return {**common, "ndcg@10": {}}
    before: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if {key: before[key] for key in common} != common:
        raise SystemExit(f"{output} is of another machine or other packages; give another --output")
    return before


def run(data: Path, output: Path) -> dict[str, Any]:
    """Search what is missing, and write after each set."""
    result = begun(output)
    for row in ROWS:
        figures: Figures = result["ndcg@10"].get(row, {})
        missing = [name for names in SETS.values() for name in names if name not in figures]
        encoder = encoder_of(row) if missing else None
        if encoder is None:
            continue
        for name in missing:
            with EmulatedBfloat16() if "emulated" in row else nullcontext():
                figures[name] = searched(encoder, read(data, name))
            result["ndcg@10"][row] = figures
            replace_bytes(output, f"{json.dumps(result)}\n".encode())
    return result


def over_float32(result: dict[str, Any], row: str, names: Iterable[str]) -> Interval:
    """What a row gains on float32 in the mean of these sets, paired by query."""
    found = result["ndcg@10"]
    return interval([np.subtract(found[row][name], found[EXACT][name]) for name in names])


def table(result: dict[str, Any]) -> str:
    """nDCG@10 of every set in each row, in points, and what the row loses."""
    lines = []
    for role, names in SETS.items():
        lines += ["", f"| {role} | {' | '.join(names)} | mean | over float32 (95 %) |"]
        lines.append("|---" * (len(names) + 3) + "|")
        for row in ROWS:
            if not {*names} <= result["ndcg@10"].get(row, {}).keys():
                continue
            means = [float(np.mean(result["ndcg@10"][row][name])) for name in names]
            gain = "" if row == EXACT else in_points(over_float32(result, row, names).to_dict(), 2)
            lines.append(f"| {row} | {cells([*means, float(np.mean(means))])} | {gain} |")
    return "\n".join(lines).strip()


def main() -> None:
    """Measure, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is not None:
        print(table(run(arguments.data, arguments.output)))


if __name__ == "__main__":
    main()
