"""What a step that cannot go on leaves behind for whoever looks for the reason."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from cde_retrievers.files import atomic_directory, write_json
from cde_retrievers.training.pairs import Indices, TrainingPairs

DETAILS = "batch.json"
INPUTS = "inputs.safetensors"


def save_failed_step(
    folder: Path, pairs: TrainingPairs, rows: Indices, inputs: Mapping[str, Tensor], **facts: Any
) -> None:
    """Write a batch's pairs as JSON and its tensors as safetensors into a directory.

    Args:
        folder: to be made; one of an earlier failure is replaced.
        pairs: what is trained on.
        rows: of the batch's pairs, (B,).
        inputs: what the model was given.
        facts: JSON values to put beside the pairs, such as the step.
    """
    shown = [pairs[int(row)] for row in rows]
    batch = [
        {"row": int(row), "domain": pair.domain, "query": pair.query, "positive": pair.positive,
         "negatives": list(pair.negatives)}
        for row, pair in zip(rows, shown, strict=True)
    ]  # fmt: skip
    with atomic_directory(folder, lambda directory: (directory / DETAILS).is_file()) as new:
        write_json(new / DETAILS, {**facts, "pairs": batch})
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in inputs.items()}, new / INPUTS)
