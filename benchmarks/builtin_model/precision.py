r"""What int8 costs the built-in model in nDCG@10, on sets that settings are chosen by and on evaluation sets.

    python benchmarks/builtin_model/precision.py --data ../shared/data \
        --output benchmarks/results/precision.json
    python benchmarks/builtin_model/precision.py --table benchmarks/results/precision.json

Exact search over all documents of each set under its own context, which each row fits by itself. What a backend does in
int8 was settled by the first sets; the others were looked at once, afterwards.
"""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command_line import options
from in_points import cells, interval

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import (
    Contextual,
    Evaluation,
    FittedContext,
    RetrievalDataset,
    evaluate,
    mean_over_sets,
)
from cde_retrievers.evaluation import mean_difference as difference
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder

SETS = {
    "chosen by": ("conala", "stackexchange-genai", "stackexchange-ai"),
    "evaluated": ("adi", "med", "cranfield"),
}
EXACT = "torch float32"
ROWS = (EXACT, "onnx int8", "openvino int8")
PACKAGES = ("torch", "transformers", "numpy", "onnxruntime", "openvino", "nncf")


def searched(sets: Sequence[RetrievalDataset], row: str) -> list[Evaluation]:
    """What the model finds in these sets, in the backend and precision of the row."""
    backend, precision = row.split()
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
    found = []
    for data in sets:
        embedder = PrecomputedEmbedder(encoder, data)
        found.append(evaluate(Contextual(embedder, FittedContext(embedder.fit_context(data.texts))), data))
    return found


def compared(sets: Sequence[RetrievalDataset]) -> dict[str, Any]:
    """The mean of every row over these sets, and its difference to float32."""
    found = {row: searched(sets, row) for row in ROWS}
    return {
        "sets": {each.data: each.documents for each in found[EXACT]},
        "ndcg@10": {row: [round(each.mean().mean, 5) for each in evaluations] for row, evaluations in found.items()},
        "mean": {row: round(mean_over_sets(evaluations).mean, 5) for row, evaluations in found.items()},
        "over float32": {
            row: {name: round(value, 6) for name, value in difference(found[row], found[EXACT]).to_dict().items()}
            for row in ROWS
            if row != EXACT
        },
    }


def run(data: Path, output: Path) -> dict[str, Any]:
    """Search everything, and write the figures."""
    result = {
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
        **{
            role: compared(
                [
                    RetrievalDataset.read(
                        data / name, "test" if (data / name / "qrels" / "test.tsv").exists() else "train"
                    )
                    for name in names
                ]
            )
            for role, names in SETS.items()
        },
    }
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def table(result: dict[str, Any]) -> str:
    """nDCG@10 of every set in each row, in points, and what the row loses."""
    lines = []
    for role in SETS:
        part = result[role]
        lines += ["", f"| {role} | {' | '.join(part['sets'])} | mean | over float32 (95 %) |"]
        lines.append("|---" * (len(part["sets"]) + 3) + "|")
        for row in ROWS:
            gain = "" if row == EXACT else interval(part["over float32"][row], 2)
            lines.append(f"| {row} | {cells([*part['ndcg@10'][row], part['mean'][row]])} | {gain} |")
    return "\n".join(lines).strip()


def main() -> None:
    """Measure, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is not None:
        print(table(run(arguments.data, arguments.output)))


if __name__ == "__main__":
    main()
