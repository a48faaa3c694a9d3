"""How hard contextual batches are beside random ones: the similarity of a query to the other documents of its batch.

    python benchmarks/batch_difficulty.py --data ../shared/data --cache vectors \
        --output benchmarks/results/batch_difficulty.json

Training sets only. Writes the figures, and beside them a picture of them. Three kinds of batches: drawn at random from
all pairs; at random within domains; and from clusters of similar pairs. The paper's difficulty (section 4.1) is the
mean over the pairs of a batch of f(d, q') + f(d', q), which is twice the mean similarity of query and negative. What
looks similar may be a right answer: so the share of negatives that the false-negative filter excludes is reported, and
the mean over those that stay.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from beir import load_domains, load_set
from matplotlib.figure import Figure

from cde_retrievers import ContextualEncoder, __version__
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder
from cde_retrievers.training.batches.false_negatives import false_negatives
from cde_retrievers.training.batches.sampler import PairBatchSampler, contextual_batches, random_batches
from cde_retrievers.training.batches.surrogate import PairVectors, embed_pairs
from cde_retrievers.training.data.pairs import Indices, Pair, TrainingPairs

SETS = ("squad-train-part", "medquad", "tldr-commands")
PAIRS = 3_000
WORDS = 80
BATCH_SIZES = (64, 256)
SEEDS = (0, 1, 2)
KINDS = ("random", "random within domains", "contextual")
MEASURES = ("similarity", "difficulty", "masked_share", "similarity_of_unmasked")


def load_pairs(folder: Path) -> TrainingPairs:
    """A seeded part of a set's training pairs; documents are cut after `WORDS` words."""
    data, domains = load_set(folder, "train"), load_domains(folder)
    queries = dict(zip(data.query_ids, data.queries, strict=True))
    documents = dict(zip(data.document_ids, data.documents, strict=True))
    judged = [(query, document) for query, row in data.qrels.items() for document, score in row.items() if score > 0]
    chosen = np.sort(np.random.default_rng(0).permutation(len(judged))[:PAIRS])
    return TrainingPairs.of(
        Pair(queries[query], " ".join(documents[document].split()[:WORDS]), domain=domains[document])
        for query, document in (judged[i] for i in chosen)
    )


def sampler_of(kind: str, pairs: TrainingPairs, vectors: PairVectors, batch_size: int, seed: int) -> PairBatchSampler:
    """The batches of one kind; a cluster as large as everything makes every domain one."""
    match kind:
        case "random":
            return random_batches(pairs, batch_size, seed)
        case "random within domains":
            return contextual_batches(pairs, vectors, batch_size, len(pairs), seed)
    return contextual_batches(pairs, vectors, batch_size, seed=seed)


def measure(pairs: TrainingPairs, vectors: PairVectors, batch: Indices) -> list[float]:
    """The `MEASURES` of one batch."""
    own = np.arange(len(batch))[:, None]
    scores = vectors.queries[pairs.query_of[batch]] @ vectors.documents[pairs.positive_of[batch]].T
    negative = own != own.T
    masked = false_negatives(pairs, batch, pairs.positive_of[batch], own, vectors) & negative
    difficulty = (scores + scores.T)[negative].mean()
    unmasked = scores[negative & ~masked].mean()
    return [float(scores[negative].mean()), float(difficulty), float(masked[negative].mean()), float(unmasked)]


def rows_of(name: str, pairs: TrainingPairs, vectors: PairVectors) -> list[dict[str, Any]]:
    """One row for every batch size and kind: means over the batches of one epoch, then over seeds."""
    rows = []
    for batch_size in BATCH_SIZES:
        for kind in KINDS:
            epochs = [sampler_of(kind, pairs, vectors, batch_size, seed).batches(0) for seed in SEEDS]
            by_seed = np.array([np.mean([measure(pairs, vectors, b) for b in batches], axis=0) for batches in epochs])
            means = dict(zip(MEASURES, by_seed.mean(axis=0).round(4).tolist(), strict=True))
            spread = round(float(by_seed[:, 0].std()), 4)
            row = {"set": name, "batch_size": batch_size, "kind": kind, **means, "similarity_spread": spread}
            print(*row.values(), sep="\t", flush=True)
            rows.append(row)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The mean similarity of query and negative, and of those that the filter lets stay, as bars."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    axes = figure.subplots(1, len(BATCH_SIZES), sharey=True)
    for axis, batch_size in zip(axes, BATCH_SIZES, strict=True):
        for place, kind in enumerate(KINDS):
            chosen = [row for row in rows if (row["kind"], row["batch_size"]) == (kind, batch_size)]
            at = np.arange(len(SETS)) + 0.26 * (place - 1)
            axis.bar(at, [row["similarity"] for row in chosen], 0.24, color=f"C{place}", label=kind)
            axis.plot(at, [row["similarity_of_unmasked"] for row in chosen], "k_", markersize=8)
        axis.set_xticks(range(len(SETS)), SETS)
        axis.set_title(f"batches of {batch_size}")
    axes[0].plot([], [], "k_", label="without what the filter masks")
    axes[0].set_ylabel("mean similarity of query and negative")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    # Without a date or version in it: the same figures give the same file.
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Measure every set, write the figures and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep the vectors in")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; the picture has its name and .png")
    arguments = parser.parse_args()
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    encoder = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0), device="cpu")
    sizes, rows = {}, []
    for name in SETS:
        pairs = load_pairs(arguments.data / name)
        vectors = embed_pairs(pairs, encoder, arguments.cache)
        texts = {"pairs": len(pairs), "queries": len(pairs.queries), "documents": len(pairs.documents)}
        sizes[name] = {**texts, "domains": len(pairs.domains)}
        rows += rows_of(name, pairs, vectors)
    result = {
        "command": "python benchmarks/batch_difficulty.py --data ../shared/data --cache vectors",
        "settings": {"pairs": PAIRS, "pairs_seed": 0, "words": WORDS, "seeds": SEEDS, "sets": sizes},
        "model": {"name": "all-MiniLM-L6-v2", "dtype": str(encoder.dtype), "fingerprint": encoder.fingerprint},
        "versions": {
            "cde_retrievers": __version__,
            "faiss": faiss.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "rows": rows,
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(rows, arguments.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
