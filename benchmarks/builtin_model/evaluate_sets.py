r"""The built-in model on the evaluation sets, beside BM25 and plain MiniLM, and a trial that was not taken up.

    python benchmarks/builtin_model/evaluate_sets.py --data ../shared/data \
        --output benchmarks/results/builtin_model.json
    python benchmarks/builtin_model/evaluate_sets.py --table benchmarks/results/builtin_model.json

Exact search over all documents of each set, its test queries, texts cut at 256 tokens. Nothing was chosen by these
figures. The first form writes two pictures beside the figures: what each set gains, and every set under every other
one's context. MiniLM's vectors are computed once a set: documents under the closed form are a map of them.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import query_focus
from command_line import options
from gains_picture import gains_picture
from in_points import cells, interval
from sets import SEVEN

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import (
    BM25,
    BiEncoder,
    ContextMatrix,
    Contextual,
    Evaluation,
    FittedContext,
    Interval,
    RetrievalDataset,
    evaluate,
    mean_over_sets,
)
from cde_retrievers.evaluation import mean_difference as difference
from cde_retrievers.evaluation.pictures import heat_map, save_picture
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder

SETS = (*SEVEN, "xquad-en", "adi")
TRIED_FOCUS = 4.0  # the best of query_focus.py
ROWS = {
    "bm25": "BM25",
    "plain": "MiniLM",
    "minilm": '`"minilm"`',
    "generic": '`"minilm"`, context of no corpus',
    "focused": '`"minilm"` with a query focus',
}
Found = Mapping[str, Sequence[Evaluation]]


def searched(sets: Sequence[RetrievalDataset], encoder: ContextualEncoder) -> tuple[Found, ContextMatrix]:
    """Every row on every set; and every set under every one's context, of which the plain bi-encoder has none."""
    generic = FittedContext(encoder.generic_context())
    embedders = [PrecomputedEmbedder(encoder, data) for data in sets]
    contexts = [FittedContext(embedder.fit_context(data.texts)) for embedder, data in zip(embedders, sets, strict=True)]
    found: dict[str, list[Evaluation]] = {row: [] for row in ROWS}
    under_each = []
    for data, embedder, own in zip(sets, embedders, contexts, strict=True):
        searchers = {
            "bm25": BM25(),
            "plain": BiEncoder(embedder),
            "minilm": Contextual(embedder, own),
            "generic": Contextual(embedder, generic),
            "focused": query_focus.Focused(encoder, embedder, TRIED_FOCUS),
        }
        for row, searcher in searchers.items():
            found[row].append(evaluate(searcher, data))
        under_each.append(tuple(evaluate(embedder, data, context) for context in contexts))
    return found, ContextMatrix(tuple(data.name for data in sets), tuple(under_each), tuple(found["plain"]))


def summary(found: Found, matrix: ContextMatrix) -> dict[str, Any]:
    """All figures, in shares of one, with 95 % intervals."""
    seven = range(len(SEVEN))
    means = {row: mean_over_sets([evaluations[i] for i in seven]) for row, evaluations in found.items()}
    gains = {
        f"{row} over {other}": difference([found[row][i] for i in seven], [found[other][i] for i in seven])
        for row, other in (("minilm", "plain"), ("generic", "plain"), ("minilm", "generic"), ("focused", "minilm"))
    }
    cells = [[round(cell.mean().mean, 4) for cell in row] for row in matrix.evaluations]
    return {
        "sets": [_set(found, place) for place in range(len(matrix.names))],
        "mean_of_seven": {row: _rounded(mean) for row, mean in means.items()},
        "gain_of_seven": {pair: _rounded(gain) for pair, gain in gains.items()},
        "contexts": {"names": matrix.names, "ndcg@10": cells, "own_wins": matrix.own_wins()},
    }


def _set(found: Found, place: int) -> dict[str, Any]:
    one = {row: evaluations[place] for row, evaluations in found.items()}
    return {
        "set": one["plain"].data,
        "documents": one["plain"].documents,
        "queries": len(one["plain"].queries),
        "means": {row: {m: round(e.mean(m).mean, 4) for m in e.values} for row, e in one.items()},
        "minilm over plain": _rounded(one["minilm"].minus(one["plain"])),
        "generic over plain": _rounded(one["generic"].minus(one["plain"])),
        "focused over minilm": _rounded(one["focused"].minus(one["minilm"])),
        "ndcg@10 of every query": {row: e.values["ndcg@10"].round(4).tolist() for row, e in one.items()},
    }


def _rounded(interval: Interval) -> dict[str, float]:
    return {name: round(value, 5) for name, value in interval.to_dict().items()}


def run(data: Path, output: Path) -> dict[str, Any]:
    """Search everything, and write figures and pictures."""
    encoder = ContextualEncoder.from_pretrained("minilm")
    found, matrix = searched([RetrievalDataset.read(data / name) for name in SETS], encoder)
    result = {
        "command": f"python benchmarks/builtin_model/evaluate_sets.py --data ../shared/data --output {output}",
        "conditioning": encoder.config.to_dict()["conditioning"],
        "context": {"size": encoder.config.context_size, "strategy": "random", "seed": 0},
        "tried_focus": TRIED_FOCUS,
        "dtype": str(encoder.dtype),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers", "numpy", "bm25s", "ir-measures")},
        **summary(found, matrix),
    }
    output.write_text(json.dumps(result) + "\n", encoding="utf-8")
    save_picture(gains_picture(result["sets"]), f"{output.with_suffix('')}_gains.png")
    save_picture(heat_map(matrix), f"{output.with_suffix('')}_contexts.png")
    return result


def table(result: dict[str, Any]) -> str:
    """nDCG@10 of every set, and what the built-in model gains, in points; the largest gain first."""
    shown = ("bm25", "plain", "minilm")
    lines = [f"| set | documents | queries | {' | '.join(ROWS[row] for row in shown)} | gain on MiniLM (95 %) |"]
    lines.append("|---" * (4 + len(shown)) + "|")
    for each in sorted(result["sets"], key=lambda each: -each["minilm over plain"]["mean"]):
        figures = cells(np.mean(each["ndcg@10 of every query"][row]) for row in shown)
        gain = interval(each["minilm over plain"])
        lines.append(f"| {each['set']} | {each['documents']:,} | {each['queries']:,} | {figures} | {gain} |")
    means = cells(result["mean_of_seven"][row]["mean"] for row in shown)
    lines.append(f"| **mean of seven** | | | {means} | {interval(result['gain_of_seven']['minilm over plain'])} |")
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is None:
        return
    result = run(arguments.data, arguments.output)
    print(table(result))
    for pair, gain in result["gain_of_seven"].items():
        print(f"{pair}, mean of seven: {interval(gain)}")
    print("own context better than the mean foreign one:", ", ".join(result["contexts"]["own_wins"]))


if __name__ == "__main__":
    main()
