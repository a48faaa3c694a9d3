"""What contextual batches and the contextual architecture add when MiniLM is trained briefly, on a CPU.

    python benchmarks/train_small.py --data ../shared/data --output benchmarks/results/train_small.json
    python benchmarks/train_small.py --table benchmarks/results/train_small.json

The paper's two by two (its table 1) in small: the same pairs, steps, batch size, seeds and learning rate for a
bi-encoder and for a contextual model (`cached`, first stage frozen), each with random and contextual batches, beside
the untrained bi-encoder and the untrained closed form. Texts are cut at `MAX_LENGTH` tokens everywhere, also when
searching, so that figures are comparable within this table alone. No setting was chosen by any figure in it.
"""

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from beir import RetrievalSet, load_set, ndcg_at_10

from cde_retrievers import ContextualEncoder
from cde_retrievers.model.config import CachedConditioning, Conditioning, WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder
from cde_retrievers.training import TrainingConfig, TrainingPairs, read_pairs, train

TRAINED_ON = ("squad-train-part", "natural-questions", "nl2bash", "tat-qa")
EVALUATION = ("adi", "cisi", "cranfield", "med", "stackexchange-coffee", "xquad-en")
PAIRS_OF_EACH = 800
DOCUMENTS_OF_EACH, QUERIES_OF_EACH = 600, 200  # of the sets trained on, when searched
MAX_LENGTH = 64
CONTEXT = 256
BATCH = 64
EPOCHS = 1
LEARNING_RATE = 2e-5
PLAIN = WhiteningConditioning(power=0)


@dataclass(frozen=True)
class Arm:
    """One row of the table; without `batching` nothing is trained."""

    title: str
    conditioning: Conditioning
    batching: str | None = None


ARMS = {
    "base": Arm("untrained", PLAIN),
    "whitening": Arm("untrained, closed form", WhiteningConditioning()),
    "random": Arm("bi-encoder, random batches", PLAIN, "random"),
    "batches": Arm("bi-encoder, contextual batches", PLAIN, "contextual"),
    "architecture": Arm("architecture, random batches", CachedConditioning(), "random"),
    "both": Arm("architecture, contextual batches", CachedConditioning(), "contextual"),
}


def training_pairs(data: Path, seed: int) -> TrainingPairs:
    """As many pairs of every set, at random; each set is one domain, as most of theirs are smaller than a batch."""
    chosen = []
    for name in TRAINED_ON:
        pairs = read_pairs(data / name)
        rows = np.random.default_rng(seed).permutation(len(pairs))[:PAIRS_OF_EACH]
        chosen += [replace(pairs[int(row)], domain=name) for row in sorted(rows)]
    return TrainingPairs.of(chosen)


def search_sets(data: Path) -> Iterator[tuple[str, RetrievalSet]]:
    """The sets trained on, with held-out queries on a part of the corpus; then the evaluation sets."""
    for name in TRAINED_ON:
        yield "in domain", part_of(load_set(data / name, "test", QUERIES_OF_EACH))
    for name in EVALUATION:
        yield "evaluation", load_set(data / name)


def part_of(data: RetrievalSet) -> RetrievalSet:
    """At most `DOCUMENTS_OF_EACH` documents: those judged, and others at random."""
    judged = {document for row in data.qrels.values() for document in row}
    order = np.random.default_rng(0).permutation(len(data.documents)).tolist()
    order.sort(key=lambda place: data.document_ids[place] not in judged)
    kept = sorted(order[: max(DOCUMENTS_OF_EACH, len(judged))])
    return replace(data, document_ids=[data.document_ids[i] for i in kept], documents=[data.documents[i] for i in kept])


def scores(encoder: ContextualEncoder, sets: list[tuple[str, RetrievalSet]]) -> dict[str, float]:
    """nDCG@10 on every set, each under its own context."""
    found = {}
    for _, data in sets:
        context = encoder.fit_context(data.documents, show_progress=False)
        documents = encoder.encode_documents(data.documents, context, show_progress=False)
        queries = encoder.encode_queries(data.queries, context, show_progress=False)
        found[data.name] = round(ndcg_at_10(data, documents, queries), 4)
    return found


def trained(arm: Arm, pairs: TrainingPairs, seed: int, folder: Path) -> tuple[ContextualEncoder, dict[str, object]]:
    """The arm's encoder, and what its training looked like."""
    encoder = ContextualEncoder.from_biencoder(
        minilm_folder(), arm.conditioning, seed=seed, max_length=MAX_LENGTH, context_size=CONTEXT
    )
    if arm.batching is None:
        return encoder, {}
    config = TrainingConfig(
        output_dir=str(folder / f"{arm.title} {seed}"),
        cache_folder=str(folder / "cache"),
        batching=arm.batching,
        context_from="domain",
        per_device_train_batch_size=BATCH,
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        chunk_size=None,
        logging_steps=2,
        save_strategy="no",
        seed=seed,
    )
    began = time.perf_counter()
    result = train(encoder, pairs, config)
    steps = [entry for entry in result.log_history if "loss" in entry]
    names = ("loss", "accuracy", "masked_share")
    curve = {name: [round(float(entry[name]), 4) for entry in steps] for name in names}
    return result.encoder, {"steps": steps[-1]["step"], "seconds": round(time.perf_counter() - began), **curve}


def run(data: Path, seeds: list[int], output: Path) -> dict[str, object]:
    """Every arm under every seed, untrained ones once; what `output` has of the same run already is not done again."""
    sets = list(search_sets(data))
    result = description(sets, seeds)
    if output.is_file():
        before = json.loads(output.read_text(encoding="utf-8"))
        if {**before, "rows": []} == result:
            result = before
    done = {(row["arm"], row["seed"]) for row in result["rows"]}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            pairs = training_pairs(data, seed)
            for name, arm in ARMS.items():
                if (name, seed) in done or (arm.batching is None and seed != seeds[0]):
                    continue
                encoder, training = trained(arm, pairs, seed, Path(folder))
                result["rows"].append(
                    {"arm": name, "seed": seed, "training": training, "ndcg@10": scores(encoder, sets)}
                )
                print(json.dumps(result["rows"][-1]), flush=True)
                output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def description(sets: list[tuple[str, RetrievalSet]], seeds: list[int]) -> dict:
    """All about a run but its rows."""
    return {
        "command": "python benchmarks/train_small.py --data ../shared/data",
        "settings": {
            "model": "all-MiniLM-L6-v2",
            "pairs": {name: PAIRS_OF_EACH for name in TRAINED_ON},
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "learning_rate": LEARNING_RATE,
            "max_length": MAX_LENGTH,
            "context_documents": CONTEXT,
            "seeds": seeds,
        },
        "groups": {data.name: group for group, data in sets},
        "searched": {data.name: [len(data.documents), len(data.queries)] for _, data in sets},
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, float32",
        "packages": {name: version(name) for name in ("torch", "transformers", "faiss-cpu")},
        "rows": [],
    }


def table(result: dict) -> str:
    """Every set, a column per arm, over the seeds; and the mean of each group of sets."""
    found = {arm: _means(result, arm) for arm in ARMS}
    lines = [f"| nDCG@10 | {' | '.join(arm.title for arm in ARMS.values())} |", "|---" * (1 + len(ARMS)) + "|"]
    groups = result["groups"]
    for group in dict.fromkeys(groups.values()):
        names = [name for name in groups if groups[name] == group]
        rows = {name: [found[arm][name] for arm in ARMS] for name in names}
        rows[f"**mean, {group}**"] = [float(np.mean([found[arm][name] for name in names])) for arm in ARMS]
        lines += [f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in row)} |" for name, row in rows.items()]
    return "\n".join(lines)


def _means(result: dict, arm: str) -> dict[str, float]:
    """nDCG@10 of an arm on each set, over the seeds."""
    rows = [row["ndcg@10"] for row in result["rows"] if row["arm"] == arm]
    return {name: float(np.mean([row[name] for row in rows])) for name in result["groups"]}


def main() -> None:
    """Run every arm and write the result, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--table", type=Path, help="print this result as text")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    if None in (arguments.data, arguments.output):
        parser.error("give --data and --output, or --table")
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    print(table(run(arguments.data, arguments.seeds, arguments.output)))


if __name__ == "__main__":
    main()
