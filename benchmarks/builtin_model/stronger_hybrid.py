r"""Hybrid search over a stronger bi-encoder than MiniLM, with the settings that were chosen for MiniLM.

    python benchmarks/builtin_model/stronger_hybrid.py --biencoder <folder of all-mpnet-base-v2> --data ../shared/data \
        --output benchmarks/results/stronger_hybrid.json
    python benchmarks/builtin_model/stronger_hybrid.py --table benchmarks/results/stronger_hybrid.json

A part of each set of `stronger_base.py`, as there, and all of two evaluation sets, the smallest of the seven but for
stackexchange-coffee. Texts are cut at 128 tokens; a context has 256 documents.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_line import options, write_and_show
from evaluate_hybrid import EvaluationSet
from figures import figures
from in_points import cells, interval
from sets import held_out_sets

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Evaluation, RetrievalDataset, evaluate

QUERIES, DOCUMENTS = 200, 400
SETTINGS = {"max_length": 128, "context_size": 256}
WHOLE = ("med", "cranfield")
SHOWN = ("plain", "minilm", "bm25", "rrf", "hybrid")
NAMES = ("plain", "under the context", "BM25", "RRF of plain and BM25", "hybrid")


def sets(data: Path) -> Iterator[RetrievalDataset]:
    """Every set, one at a time."""
    yield from held_out_sets(data, QUERIES, DOCUMENTS)
    for name in WHOLE:
        yield RetrievalDataset.read(data / name)


def run(data: Path, biencoder: Path, output: Path) -> dict[str, Any]:
    """Search every set in every way, over both bi-encoders."""
    result: dict[str, Any] = {
        "command": f"python benchmarks/builtin_model/stronger_hybrid.py --biencoder <folder of {biencoder.name}> "
        f"--data ../shared/data --output {output}",
        "settings": {**SETTINGS, "queries": QUERIES, "documents": DOCUMENTS, "whole": WHOLE},
        "rows": [],
    }
    for name, source in (("all-MiniLM-L6-v2", "minilm"), (biencoder.name, str(biencoder))):
        encoder = ContextualEncoder.from_biencoder(source, "whitening", **SETTINGS)
        generic = encoder.generic_context()
        found: dict[str, list[Evaluation]] = {row: [] for row in SHOWN}
        for data_set in sets(data):
            searchers = EvaluationSet(encoder, data_set).searchers(generic)
            for row in SHOWN:
                found[row].append(evaluate(searchers[row], data_set))
        for row, label in zip(SHOWN, NAMES, strict=True):
            result["rows"].append({"name": f"{name}, {label}", **figures(found[row], found["plain"])})
    return result


def table(result: dict[str, Any]) -> str:
    """A row for each bi-encoder and way to search, in points."""
    names = list(result["rows"][0]["ndcg@10"])
    lines = [f"| nDCG@10 | {' | '.join(names)} | mean | gain on plain (95 %) |", "|---" * (len(names) + 3) + "|"]
    for row in result["rows"]:
        gain = "" if row["name"].endswith(", plain") else interval(row["gain"])
        lines.append(f"| {row['name']} | {cells((*row['ndcg@10'].values(), row['mean']))} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Search and write the result, or print the table of a result."""
    arguments = options(__doc__ or "", table, biencoder={"help": "folder of the stronger bi-encoder", "required": True})
    if arguments is None:
        return
    result = run(arguments.data, arguments.biencoder, arguments.output)
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
