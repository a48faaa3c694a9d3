"""What a step that cannot go on leaves behind for whoever looks for the reason."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cde_retrievers.errors import TrainingError
from cde_retrievers.files import atomic_directory, write_json
from cde_retrievers.training.batches.collator import PAIR_ROWS
from cde_retrievers.training.data.pairs import TrainingPairs

if TYPE_CHECKING:
    from transformers import TrainingArguments

DETAILS = "batch.json"
INPUTS = "inputs.safetensors"


def has_finite_gradients(module: nn.Module) -> bool:
    """Whether no gradient of the module is infinite or not a number."""
    norm = torch.nn.utils.get_total_norm([each.grad for each in module.parameters() if each.grad is not None])
    return bool(torch.isfinite(norm))


def stop_training(
    reason: str, step: int, arguments: "TrainingArguments", pairs: TrainingPairs, inputs: Mapping[str, Tensor]
) -> NoReturn:
    """Save the batch for inspection, a directory for each process, and raise.

    Args:
        reason: what is wrong with the step, for the message.
        step: counted from 1.
        arguments: say where to save.
        pairs: what is trained on.
        inputs: the step's tensors.

    Raises:
        TrainingError: always.
    """
    folder = Path(str(arguments.output_dir)) / f"failed-step-{step}-process-{arguments.process_index}"
    save_step(folder, pairs, inputs, step=step, reason=reason)
    raise TrainingError(
        f"{reason} at step {step}, so training stops before the weights are spoilt; the batch is in {folder}. Begin "
        f"anew with a lower learning_rate, or resume a checkpoint with a higher temperature or bf16 in place of fp16"
    )


def save_step(folder: Path, pairs: TrainingPairs, inputs: Mapping[str, Tensor], **facts: Any) -> None:
    """Write a batch's pairs as JSON and its tensors as safetensors into a directory.

    Args:
        folder: to be made; one of an earlier failure is replaced.
        pairs: what is trained on.
        inputs: the step's tensors, with the rows of its pairs.
        facts: JSON values to put beside the pairs.
    """
    batch = []
    for row in inputs[PAIR_ROWS].tolist():
        pair = pairs[row]
        texts = {"query": pair.query, "positive": pair.positive, "negatives": list(pair.negatives)}
        batch.append({"row": row, "domain": pair.domain, **texts})
    with atomic_directory(folder, lambda directory: (directory / DETAILS).is_file()) as new:
        write_json(new / DETAILS, {**facts, "pairs": batch})
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in inputs.items()}, new / INPUTS)
