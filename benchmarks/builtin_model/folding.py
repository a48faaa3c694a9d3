r"""A trial, not built into the library: fewer keys of the context for a model of conditioning "cached".

    python benchmarks/builtin_model/train.py --recipe benchmarks/builtin_model/folding.toml --models <folder> \
        --data ../shared/data --output <file>
    python benchmarks/builtin_model/folding.py --model <folder>/.../model --data ../shared/data \
        --output benchmarks/results/folding.json
    python benchmarks/builtin_model/folding.py --table benchmarks/results/folding.json

In every layer and head k-means puts the context's keys into K clusters. A cluster counts as its mean key, with the
logarithm of its size added to the logit, and as the mean of its values. That is the same as every key and value in the
place of its cluster's mean, which is how it is computed here, so the figures show what is lost and not what is saved.
Beside it stands a context of K documents. Sets that the model was trained on, with queries that it was not.

Axes: N context vectors, K clusters, H heads, D head width.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from command_line import options, write_and_show
from figures import figures
from in_points import cells, interval
from sets import in_domain_sets
from torch import Tensor

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Contextual, Evaluation, OwnContext, RetrievalDataset, evaluate
from cde_retrievers.model.cached_conditioning import CachedSecondStage, ContextCache
from cde_retrievers.model.context_attention import LayerContext

QUERIES, DOCUMENTS, SIZES, ROUNDS = 200, 600, (256, 128, 64, 32), 20
Change = Callable[[ContextCache], ContextCache]


def folded(cache: ContextCache, count: int) -> ContextCache:
    """The cache with every key and value in the place of the mean of its cluster, of `count` in each head."""
    return ContextCache(tuple(folded_layer(layer, count) for layer in cache.layers), cache.whitening)


def folded_layer(layer: LayerContext, count: int) -> LayerContext:
    """Keys and values (1, H, N, D), likewise."""
    keys, values = layer.keys.clone(), layer.values.clone()
    for head in range(keys.shape[1]):
        cluster = clusters(layer.keys[0, head], count)
        keys[0, head] = means(layer.keys[0, head], cluster, count)[cluster]
        values[0, head] = means(layer.values[0, head], cluster, count)[cluster]
    return LayerContext(keys, values)


def clusters(rows: Tensor, count: int) -> Tensor:
    """The cluster (N,) of each row (N, D) by k-means; one that gets empty stays so."""
    generator = torch.Generator().manual_seed(0)
    centres = rows[torch.randperm(len(rows), generator=generator)[:count]]
    for _ in range(ROUNDS):
        cluster = torch.cdist(rows, centres).argmin(dim=1)
        centres = means(rows, cluster, count)
    return torch.cdist(rows, centres).argmin(dim=1)


def means(rows: Tensor, cluster: Tensor, count: int) -> Tensor:
    """The mean of each cluster's rows (K, D), far away for one that is empty."""
    sizes = torch.bincount(cluster, minlength=count).unsqueeze(1)
    sums = torch.zeros(count, rows.shape[1]).index_add_(0, cluster, rows)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), torch.full_like(sums, 1e6))


def as_it_is(cache: ContextCache) -> ContextCache:
    """No change."""
    return cache


def searched(
    model: Path, sets: list[RetrievalDataset], change: Change = as_it_is, size: int | None = None, closed: bool = False
) -> list[Evaluation]:
    """Every set under its own context of `size` documents, whose cache is changed; or, closed, not attended to."""
    encoder = ContextualEncoder.from_pretrained(model, "cpu", "float32")
    stage = encoder.model.second_stage
    assert isinstance(stage, CachedSecondStage)
    if closed:
        torch.nn.init.zeros_(stage.gate)
    prepare = stage.prepare
    stage.prepare = lambda *given: change(prepare(*given))  # type: ignore[method-assign]
    return [evaluate(Contextual(encoder, OwnContext(size=size)), each, show_progress=False) for each in sets]


def run(model: Path, data: Path, output: Path) -> dict[str, Any]:
    """The context as it is, folded, and with fewer documents."""
    sets = list(in_domain_sets(data, QUERIES, DOCUMENTS))
    exact = searched(model, sets)
    gate = ContextualEncoder.from_pretrained(model, "cpu", "float32").model.second_stage.get_parameter("gate").detach()
    rows = {"512 documents": exact, "512, not attended to": searched(model, sets, closed=True)}
    for count in SIZES:
        rows[f"512 folded to {count}"] = searched(model, sets, partial(folded, count=count))
        rows[f"{count} documents"] = searched(model, sets, size=count)
    return {
        "command": f"python benchmarks/builtin_model/folding.py --model <folder> --data ../shared/data "
        f"--output {output}",
        "gate": {"mean": round(float(gate.tanh().abs().mean()), 5), "most": round(float(gate.tanh().abs().max()), 5)},
        "sets": [each.name for each in sets],
        "rows": {name: figures(found, exact) for name, found in rows.items()},
    }


def table(result: dict[str, Any]) -> str:
    """A row for each context, in points."""
    lines = [f"| context | {' | '.join(result['sets'])} | over 512 documents |"]
    lines.append("|---" * (2 + len(result["sets"])) + "|")
    for name, row in result["rows"].items():
        lines.append(f"| {name} | {cells(row['ndcg@10'].values())} | {interval(row['gain'], 2)} |")
    return "\n".join(lines)


def main() -> None:
    """Search every set and write the result, or print the table of a result."""
    arguments = options(__doc__, table, model={"help": "folder of the trained model", "required": True})
    if arguments is None:
        return
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    write_and_show(run(arguments.model, arguments.data, arguments.output), arguments.output, table)


if __name__ == "__main__":
    main()
