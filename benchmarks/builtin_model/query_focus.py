"""A trial that was not taken up: tokens of a query that resemble the corpus as a whole count less in its mean.

    python benchmarks/builtin_model/query_focus.py --data ../shared/data --output benchmarks/results/query_focus.json
    python benchmarks/builtin_model/query_focus.py --table benchmarks/results/query_focus.json

It is to token states what inverse document frequency is to words: a token counts exp(-focus r), where r is a soft
maximum of its state's cosines to the context's vectors. Documents are read as ever. The focus is chosen on
training sets that were kept out, whole sets with all their queries; `evaluate_sets.py` then shows what became of it.

Axes: B queries, L tokens, N context vectors, W width.
"""

import math
from pathlib import Path

import torch
from command_line import options, write_and_show
from in_points import cells, interval
from numpy.typing import NDArray
from searching import Corpus
from sets import held_out_sets
from torch import Tensor
from torch.nn.functional import normalize

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.evaluation import Evaluation, mean_difference
from cde_retrievers.model.pooling import mean_pool

FOCUSES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
_SHARPNESS = 10.0  # between the mean of the cosines (0) and their maximum (infinity)
_BATCH = 64


@torch.inference_mode()
def focused_queries(encoder: ContextualEncoder, context: CorpusContext, queries: list[str], focus: float) -> NDArray:
    """Queries under the closed form and a focus -> (n, W), not normalised."""
    vectors = torch.from_numpy(context.vectors.copy())
    backbone = encoder.model.first_stage.backbone
    order = sorted(range(len(queries)), key=lambda place: len(queries[place]))
    found = torch.zeros(len(queries), encoder.width)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        input_ids, mask = encoder.tokenize([queries[row] for row in rows])
        states = backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        found[rows] = mean_pool(states, mask * torch.exp(-focus * resemblance(states, vectors)))
    return encoder.model.second_stage.prepare(vectors)(normalize(found, dim=-1)).numpy()


def resemblance(states: Tensor, vectors: Tensor) -> Tensor:
    """Token states (B, L, W) and context vectors (N, W) -> (B, L)."""
    cosines = normalize(states, dim=-1) @ normalize(vectors, dim=-1).T
    return (torch.logsumexp(_SHARPNESS * cosines, dim=-1) - math.log(len(vectors))) / _SHARPNESS


def searched(corpus: Corpus, encoder: ContextualEncoder, focus: float) -> Evaluation:
    """A set under its own context, its queries read with a focus."""
    context = corpus.context(encoder)
    queries = focused_queries(encoder, context, list(corpus.data.judged.queries.values()), focus)
    return corpus.under(encoder, context, queries)


def run(data: Path, cache: Path | None, output: Path) -> dict:
    """Every held-out set under every focus."""
    encoder = ContextualEncoder.from_pretrained("minilm")
    corpora = [Corpus.of(held_out, encoder, cache) for held_out in held_out_sets(data)]
    unfocused = [corpus.under(encoder, corpus.context(encoder)) for corpus in corpora]
    rows = []
    for focus in FOCUSES:
        found = [searched(corpus, encoder, focus) for corpus in corpora]
        means = {each.data: round(each.mean().mean, 6) for each in found}
        gain = mean_difference(found, unfocused).to_dict()
        rows.append({"focus": focus, "ndcg@10": means, "gain": {key: round(v, 5) for key, v in gain.items()}})
    return {
        "command": f"python benchmarks/builtin_model/query_focus.py --data ../shared/data --output {output}",
        "sets": {each.data: {"documents": each.documents, "queries": len(each.queries)} for each in unfocused},
        "plain": {corpus.data.name: round(corpus.plain(encoder).mean().mean, 4) for corpus in corpora},
        "rows": rows,
    }


def table(result: dict) -> str:
    """A row per focus, in points."""
    lines = [f"| focus | {' | '.join(result['sets'])} | gain of the mean, points |"]
    lines.append("|---" * (2 + len(result["sets"])) + "|")
    for row in result["rows"]:
        lines.append(f"| {row['focus']:.0f} | {cells(row['ndcg@10'].values())} | {interval(row['gain'], 2)} |")
    return "\n".join(lines)


def main() -> None:
    """Score every set and write the result, or print the table of a result."""
    arguments = options(__doc__, table, cache={"help": "keep the bi-encoder's vectors in this folder"})
    if arguments is None:
        return
    result = run(arguments.data, arguments.cache, arguments.output)
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
