r"""A trial that was not taken up: MiniLM learns a stronger bi-encoder's scores, and goes under the closed form then.

    python benchmarks/builtin_model/distil.py --teacher <folder of all-mpnet-base-v2> --data ../shared/data \
        --output benchmarks/results/distil.json
    python benchmarks/builtin_model/distil.py --table benchmarks/results/distil.json

Whether a document answers a query is not used, only how the teacher scores it: within a batch of pairs from one set,
the student's softmax over the documents, and over the queries, is to be the teacher's. Then searched on parts of the
sets kept out, texts cut at 64 tokens.

Axes: B pairs of a batch, W width.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command_line import options, write_and_show
from figures import figures
from in_points import cells, interval
from sets import NATURAL, OTHER, held_out_sets, training_pairs
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, normalize
from train import under_its_conditioning

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Evaluation, RetrievalDataset, evaluate
from cde_retrievers.training import TrainingPairs

OF_EACH, BATCH, EPOCHS, LEARNING_RATE, TEMPERATURE, SEED = 192, 64, 2, 5e-5, 0.05, 0
QUERIES, DOCUMENTS = 200, 400
SETTINGS = {"max_length": 64, "context_size": 256}


def scores(queries: Tensor, documents: Tensor) -> Tensor:
    """Embeddings (B, W), of any length -> cosines by the temperature (B, B)."""
    return normalize(queries, dim=-1) @ normalize(documents, dim=-1).T / TEMPERATURE


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Scores (B, B) -> the divergence of the student's softmax from the teacher's, over both axes; scalar."""
    each = [
        kl_div(log_softmax(student, axis), log_softmax(teacher, axis), log_target=True, reduction="sum")
        for axis in (0, 1)
    ]
    return sum(each) / len(student)


def batches(pairs: TrainingPairs) -> Iterator[list[int]]:
    """Every epoch's batches in another order; each is of one set."""
    rng = np.random.default_rng(SEED)
    domains = np.array([pair.domain for pair in pairs])
    for _ in range(EPOCHS):
        parts = []
        for domain in np.unique(domains):
            mixed = rng.permutation(np.flatnonzero(domains == domain))
            parts += [mixed[start : start + BATCH].tolist() for start in range(0, len(mixed), BATCH)]
        yield from (parts[place] for place in rng.permutation(len(parts)))


def taught(teacher: ContextualEncoder, pairs: TrainingPairs) -> tuple[ContextualEncoder, list[float]]:
    """MiniLM after every batch, without dropout, and the loss of each."""
    student = ContextualEncoder.from_biencoder("minilm", "whitening", **SETTINGS)
    queries = torch.from_numpy(teacher.biencoder_vectors([pair.query for pair in pairs], ""))
    documents = torch.from_numpy(teacher.biencoder_vectors([pair.positive for pair in pairs], ""))
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    order = list(batches(pairs))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=len(order))
    losses = []
    for rows in order:
        texts = [pairs[row].query for row in rows], [pairs[row].positive for row in rows]
        mine = scores(*(student.model.first_stage(*student.tokenize(each)).float() for each in texts))
        loss = divergence(mine, scores(queries[rows], documents[rows]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(round(loss.item(), 4))
    return student, losses


def run(data: Path, folder: Path, output: Path) -> dict[str, Any]:
    """MiniLM before, and a share of the way to what it was taught, all under each set's own context."""
    teacher = ContextualEncoder.from_biencoder(str(folder), "whitening", **SETTINGS)
    pairs = training_pairs(data, OF_EACH, SEED, (*NATURAL, *OTHER))[0]
    student, losses = taught(teacher, pairs)
    sets = list(held_out_sets(data, QUERIES, DOCUMENTS))
    found = {share: searched(student, share, sets) for share in (0.0, 0.5, 1.0)}
    return {
        "command": f"python benchmarks/builtin_model/distil.py --teacher <folder of {folder.name}> "
        f"--data ../shared/data --output {output}",
        "settings": {
            **SETTINGS,
            **{"of_each": OF_EACH, "batch": BATCH, "epochs": EPOCHS, "learning_rate": LEARNING_RATE},
            **{"temperature": TEMPERATURE, "seed": SEED, "queries": QUERIES, "documents": DOCUMENTS},
        },
        "pairs": len(pairs),
        "losses": losses,
        "rows": [{"share": share, **figures(each, found[0.0])} for share, each in found.items()],
    }


def searched(student: ContextualEncoder, share: float, sets: list[RetrievalDataset]) -> list[Evaluation]:
    """Every set under the closed form of the weights that share of the way from MiniLM's to the student's."""
    arm = {"conditioning": {"kind": "whitening"}, "share": share}
    encoder = under_its_conditioning(arm, {"model": SETTINGS}, student)
    return [evaluate(encoder, each, show_progress=False) for each in sets]


def table(result: dict[str, Any]) -> str:
    """A row per share, in points."""
    sets = list(result["rows"][0]["ndcg@10"])
    lines = [f"| share of the way | {' | '.join(sets)} | mean | gain |", "|---" * (len(sets) + 3) + "|"]
    for row in result["rows"]:
        gain = interval(row["gain"]) if row["share"] else ""
        lines.append(f"| {row['share']:.1f} | {cells((*row['ndcg@10'].values(), row['mean']))} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Teach, search and write the result, or print the table of a result."""
    arguments = options(__doc__, table, teacher={"help": "folder of the stronger bi-encoder", "required": True})
    if arguments is None:
        return
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    result = run(arguments.data, arguments.teacher, arguments.output)
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
