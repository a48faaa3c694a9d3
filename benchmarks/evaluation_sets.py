"""The built-in model against plain MiniLM on the held-out evaluation sets. Nothing is chosen by these figures.

    python benchmarks/evaluation_sets.py --data ../shared/data --output benchmarks/results/evaluation_sets.json
    python benchmarks/evaluation_sets.py --table benchmarks/results/evaluation_sets.json

Exact search over all documents of each set; its test queries; texts are cut at the model's 256 tokens.
"""

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from beir import load_set, ndcg_at_10

from cde_retrievers import ContextualEncoder
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder

SETS = ("scifact", "cranfield", "cisi", "med", "cosqa", "medquad-liveqa", "stackexchange-coffee", "xquad-en", "adi")


def evaluate(encoder: ContextualEncoder, folder: Path) -> dict[str, float]:
    """nDCG@10 and the sizes of one set, embedded under a context fitted on its own corpus."""
    data = load_set(folder)
    context = encoder.fit_context(data.documents)
    documents = encoder.encode_documents(data.documents, context, show_progress=True)
    score = ndcg_at_10(data, documents, encoder.encode_queries(data.queries, context))
    return {"ndcg_at_10": score, "documents": len(data.documents), "queries": len(data.queries)}


def run(data: Path) -> dict[str, object]:
    """Every set under both models."""
    built_in = ContextualEncoder.from_pretrained("minilm")
    plain = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    rows = []
    for name in SETS:
        before, after = evaluate(plain, data / name), evaluate(built_in, data / name)
        rows.append({"set": name, **before, "plain": before["ndcg_at_10"], "built_in": after["ndcg_at_10"]})
        del rows[-1]["ndcg_at_10"]
        print(f"{name:24} plain {rows[-1]['plain']:.4f}  built-in {rows[-1]['built_in']:.4f}", flush=True)
    settings = built_in.config.to_dict()
    packages = {name: version(name) for name in ("torch", "transformers", "numpy", "faiss-cpu")}
    return {
        "command": "python benchmarks/evaluation_sets.py --data ../shared/data",
        "conditioning": settings["conditioning"],
        "context": {"size": settings["context_size"], "strategy": "random", "seed": 0},
        "dtype": str(built_in.dtype),
        "machine": platform.machine(),
        "packages": packages,
        "sets": rows,
    }


def table(result: dict) -> str:
    """The rows as a Markdown table, best gain first."""
    rows = sorted(result["sets"], key=lambda row: row["plain"] - row["built_in"])
    lines = ["| set | documents | queries | plain MiniLM | `minilm` | gain (points) |", "|---|---|---|---|---|---|"]
    for row in rows:
        gain = 100 * (row["built_in"] - row["plain"])
        lines.append(
            f"| {row['set']} | {row['documents']:,} | {row['queries']:,} | {row['plain']:.3f} "
            f"| {row['built_in']:.3f} | {gain:+.1f} |"
        )
    plain, built_in = (float(np.mean([row[key] for row in rows])) for key in ("plain", "built_in"))
    lines.append(f"| **mean** | | | {plain:.3f} | {built_in:.3f} | {100 * (built_in - plain):+.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path, help="print this result as Markdown")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    if arguments.data is None or arguments.output is None:
        parser.error("give --data and --output, or --table")
    result = run(arguments.data)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
