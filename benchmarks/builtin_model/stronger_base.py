r"""The closed form over a stronger bi-encoder than MiniLM, on the sets kept out of the built-in model's training.

    python benchmarks/builtin_model/stronger_base.py --biencoder <folder of all-mpnet-base-v2> --data ../shared/data \
        --output benchmarks/results/stronger_base.json
    python benchmarks/builtin_model/stronger_base.py --table benchmarks/results/stronger_base.json

A part of each set, texts cut at 64 tokens and 256 context documents, as `recipe.toml` has it.
"""

from pathlib import Path
from typing import Any

from command_line import options, write_and_show
from figures import figures
from in_points import cells, interval
from sets import held_out_sets

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import BiEncoder, Evaluation, evaluate
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder

QUERIES, DOCUMENTS = 200, 400
SETTINGS = {"max_length": 64, "context_size": 256}


def run(data: Path, biencoder: Path, output: Path) -> dict[str, Any]:
    """Both bi-encoders, plain and under each set's own context."""
    result: dict[str, Any] = {
        "command": f"python benchmarks/builtin_model/stronger_base.py --biencoder <folder of {biencoder.name}> "
        f"--data ../shared/data --output {output}",
        "settings": {**SETTINGS, "queries": QUERIES, "documents": DOCUMENTS},
        "rows": [],
    }
    before: list[Evaluation] = []
    for name, source in (("all-MiniLM-L6-v2", "minilm"), (biencoder.name, str(biencoder))):
        encoder = ContextualEncoder.from_biencoder(source, "whitening", **SETTINGS)
        sets = list(held_out_sets(data, QUERIES, DOCUMENTS))
        embedders = [PrecomputedEmbedder(encoder, each, show_progress=False) for each in sets]
        plain = [evaluate(BiEncoder(embedder), each) for embedder, each in zip(embedders, sets, strict=True)]
        closed = [evaluate(embedder, each) for embedder, each in zip(embedders, sets, strict=True)]
        for label, found in ((name, plain), (f"{name}, closed form", closed)):
            result["rows"].append({"name": label, **figures(found, before or found)})
            before = found
    return result


def table(result: dict[str, Any]) -> str:
    """A row per bi-encoder and conditioning, in points."""
    first, *_ = result["rows"]
    sets = list(first["ndcg@10"])
    lines = [f"| nDCG@10 | {' | '.join(sets)} | mean | gain on the row above |", "|---" * (len(sets) + 3) + "|"]
    for row in result["rows"]:
        gain = "" if row is first else interval(row["gain"])
        lines.append(f"| {row['name']} | {cells((*row['ndcg@10'].values(), row['mean']))} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Score both and write the result, or print the table of a result."""
    arguments = options(__doc__, table, biencoder={"help": "folder of the stronger bi-encoder", "required": True})
    if arguments is None:
        return
    result = run(arguments.data, arguments.biencoder, arguments.output)
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
