"""Chooses the built-in model's whitening power and shrinkage on training sets, never on evaluation sets.

    python benchmarks/whitening_power.py --data ../shared/data --output benchmarks/results/whitening_power.json

Every corpus is one set; queries are its held-out test queries where it has some, else training queries (nothing is
trained here). MiniLM's plain vectors are computed once a corpus. The choice: the smallest power whose mean gain on
people's questions is within 0.05 points of the best one's.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from beir import RetrievalDataset, load_set, ndcg_at_10
from torch.nn.functional import normalize

from cde_retrievers import ContextualEncoder
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder
from cde_retrievers.model.whitening import fit_whitening

POWERS = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
SHRINKAGES = (0.01, 0.1, 1.0)
MAX_QUERIES = 500
# People's questions, which users' queries are like: the choice is made on these.
NATURAL = (
    "covid-faq", "squad-train-part", "natural-questions", "boolq", "tat-qa", "strategyqa", "selqa", "narrativeqa",
    "nl2bash", "conala", "multihop", "entailment-bank",
    "stackexchange-beer", "stackexchange-matheducators", "stackexchange-ai", "stackexchange-genai",
)  # fmt: skip
# Titles of advisories as queries: reported beside them.
MINED = ("security-advisories",)


def corpora(data: Path) -> Iterator[tuple[str, RetrievalDataset]]:
    """("natural" or "mined", set) for every corpus the choice looks at."""
    for kind, names in (("natural", NATURAL), ("mined", MINED)):
        for name in names:
            split = "test" if (data / name / "qrels" / "test.tsv").exists() else "train"
            yield kind, load_set(data / name, split, MAX_QUERIES)


def scores(encoder: ContextualEncoder, data: RetrievalDataset) -> dict[str, float]:
    """nDCG@10 for every power and shrinkage, keyed "power/shrinkage"; power 0 is plain MiniLM."""
    context = encoder.fit_context(data.documents)
    documents = torch.from_numpy(encoder.encode_documents(data.documents, context))
    queries = torch.from_numpy(encoder.encode_queries(data.queries, context))
    result = {}
    for power in POWERS:
        for shrinkage in SHRINKAGES if power else SHRINKAGES[:1]:
            whiten = fit_whitening(torch.from_numpy(context.vectors.copy()), power, shrinkage)
            mapped = [normalize(whiten(vectors), dim=-1).numpy() for vectors in (documents, queries)]
            result[f"{power}/{shrinkage}"] = ndcg_at_10(data, *mapped)
    return result


def table(result: dict) -> str:
    """Mean gain over power 0 on people's questions, in points."""
    gains = result["mean_gain"]["natural"]
    lines = ["| power | " + " | ".join(f"shrinkage {value}" for value in SHRINKAGES) + " |", "|---" * 4 + "|"]
    for power in POWERS[1:]:
        cells = " | ".join(f"{gains[f'{power}/{shrinkage}']:+.2f}" for shrinkage in SHRINKAGES)
        lines.append(f"| {power} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Score every corpus and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR sets")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # Power 0 gives MiniLM's plain unit vectors, which every other power is then applied to.
    encoder = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    rows = []
    for kind, data in corpora(arguments.data):
        gains = scores(encoder, data)
        rows.append({"corpus": data.name, "kind": kind, "documents": len(data.documents),
                     "queries": len(data.queries), "ndcg_at_10": gains})  # fmt: skip
        best = max(gains, key=gains.__getitem__)
        print(f"{data.name:40} plain {gains['0.0/0.01']:.4f}  best {best} {gains[best]:.4f}", flush=True)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps({"corpora": rows, "mean_gain": _mean_gains(rows)}, indent=2) + "\n")
    print(table({"mean_gain": _mean_gains(rows)}))


def _mean_gains(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Mean gain over power 0 in points, by kind of corpus and setting."""
    result: dict[str, dict[str, float]] = {}
    for kind in ("natural", "mined"):
        chosen = [row["ndcg_at_10"] for row in rows if row["kind"] == kind]
        if chosen:
            plain = np.mean([row["0.0/0.01"] for row in chosen])
            result[kind] = {
                key: round(100 * float(np.mean([row[key] for row in chosen]) - plain), 3) for key in chosen[0]
            }
    return result


if __name__ == "__main__":
    main()
