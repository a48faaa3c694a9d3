"""Small training runs: pairs of the tiny corpus, and a configuration that a test can finish."""

import json
from pathlib import Path

import torch
from tiny import CORPUS

from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

# A text of two words asks for the sentence it begins; 54 pairs in 3 domains.
PAIRS = TrainingPairs.of(
    Pair(text.replace("sleeps", "sleep").replace(" in the", ""), text, (), text.split()[0]) for text in CORPUS
)
STEPS_PER_EPOCH = 6  # of 9 pairs


def small_config(folder, **settings) -> TrainingConfig:
    defaults = {
        "per_device_train_batch_size": 9,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 2,
        "save_strategy": "no",
        "use_cpu": True,
        "chunk_size": 4,
        "disable_tqdm": True,
    }
    return TrainingConfig(output_dir=str(folder), **{**defaults, **settings})


def weights_of(encoder) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in encoder.model.state_dict().items()}


def same_weights(first, second) -> bool:
    """Bit by bit."""
    one, other = weights_of(first), weights_of(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def write_beir(folder: Path, documents: dict[str, str], judged: list[tuple[str, str]]) -> Path:
    """A folder of documents by id and (query, id of its answer)."""
    (folder / "qrels").mkdir(parents=True)
    rows = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in documents.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"_id": f"q{place}", "text": query}) for place, (query, _) in enumerate(judged)]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    lines = [f"q{place}\t{answer}\t1" for place, (_, answer) in enumerate(judged)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return folder
