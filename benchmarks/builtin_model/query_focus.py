"""A trial that was not taken up: tokens of a query that resemble the corpus as a whole count less in its mean.

    python benchmarks/builtin_model/query_focus.py --data ../shared/data --output benchmarks/results/query_focus.json
    python benchmarks/builtin_model/query_focus.py --table benchmarks/results/query_focus.json

It is to token states what inverse document frequency is to words: a token counts exp(-focus r), where r is a soft
maximum of its state's cosines to the context's vectors. Documents are read as ever. The focus is chosen on
training sets that were kept out, whole sets with all their queries; `evaluate_sets.py` then shows what became of it.

Axes: B queries, L tokens, N context vectors, W width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from command_line import options, write_and_show
from figures import figures
from in_points import cells, interval
from numpy.typing import NDArray
from sets import held_out_sets
from torch import Tensor
from torch.nn.functional import normalize

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.evaluation import BiEncoder, Contextual, Evaluation, RetrievalDataset, Searcher, evaluate
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.model.first_stage import mean_pool
from cde_retrievers.validation.vectors import unit_rows

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


@dataclass(frozen=True, eq=False)
class Focused:
    """A searcher: documents under the set's own context as ever, queries read with a focus."""

    encoder: ContextualEncoder
    embedder: PrecomputedEmbedder
    focus: float

    @property
    def name(self) -> str:
        """As `Searcher`."""
        return f"{self.encoder.name}, focus {self.focus:.0f}"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        context = self.embedder.fit_context(data.texts)
        queries = focused_queries(self.encoder, context, list(data.judged.queries.values()), self.focus)
        return Hits.of_vectors(self.embedder.encode_documents(data.texts, context), unit_rows(queries), depth)


def run(data: Path, output: Path) -> dict:
    """Every held-out set under every focus."""
    encoder = ContextualEncoder.from_pretrained("minilm")
    sets = list(held_out_sets(data))
    embedders = [PrecomputedEmbedder(encoder, each) for each in sets]
    unfocused = searched(sets, [Contextual(each) for each in embedders])
    plain = searched(sets, [BiEncoder(each) for each in embedders])
    rows = [(focus, searched(sets, [Focused(encoder, each, focus) for each in embedders])) for focus in FOCUSES]
    return {
        "command": f"python benchmarks/builtin_model/query_focus.py --data ../shared/data --output {output}",
        "sets": {each.data: {"documents": each.documents, "queries": len(each.queries)} for each in unfocused},
        "plain": figures(plain, unfocused)["ndcg@10"],
        "rows": [{"focus": focus, **figures(found, unfocused)} for focus, found in rows],
    }


def searched(sets: Sequence[RetrievalDataset], searchers: Sequence[Searcher]) -> list[Evaluation]:
    """Each set by its own searcher."""
    return [evaluate(searcher, data, show_progress=False) for data, searcher in zip(sets, searchers, strict=True)]


def table(result: dict) -> str:
    """A row per focus, in points."""
    lines = [f"| focus | {' | '.join(result['sets'])} | gain of the mean, points |"]
    lines.append("|---" * (2 + len(result["sets"])) + "|")
    for row in result["rows"]:
        lines.append(f"| {row['focus']:.0f} | {cells(row['ndcg@10'].values())} | {interval(row['gain'], 2)} |")
    return "\n".join(lines)


def main() -> None:
    """Score every set and write the result, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is None:
        return
    result = run(arguments.data, arguments.output)
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
