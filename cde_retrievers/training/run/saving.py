"""Writing checkpoints: marked when they are whole, old ones deleted after that, failures explained."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import SAFE_WEIGHTS_NAME

from cde_retrievers.durable import make_directory
from cde_retrievers.errors import TrainingError, WriteError
from cde_retrievers.files import write_json
from cde_retrievers.model.checkpoints import unique_weights
from cde_retrievers.training.processes import wait_for_all
from cde_retrievers.training.run.checkpoints import (
    Facts,
    delete_old,
    is_complete,
    mark_complete,
    newest_complete,
    unmark,
)

_SETTINGS_FILE = "training_config.json"


class CheckpointKeeper(TrainerCallback):
    """Marks each checkpoint when all processes have written their part of it, then deletes old ones.

    The Trainer itself would delete old ones before the marker is written, and a run killed in between would have none.

    Attributes:
        writing: the checkpoint that is being written, or None.

    Args:
        facts: what identifies the run.
        limit: checkpoints to keep; all if None.
    """

    def __init__(self, facts: Facts, limit: int | None) -> None:
        self.writing: Path | None = None
        self._facts = facts
        self._limit = limit

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when the Trainer has written a checkpoint."""
        wait_for_all()
        if args.should_save and self.writing is not None:
            mark_complete(self.writing, self._facts)
            delete_old(self.writing.parent, self._limit, state.best_model_checkpoint)
        self.writing = None


def write_weights(folder: Path, module: nn.Module, settings: dict[str, Any]) -> None:
    """Write every weight once, under one name, and the run's settings.

    Args:
        folder: made if it does not exist; its marker is removed first, if it is a checkpoint.
        module: what is trained.
        settings: JSON values.
    """
    make_directory(folder)
    unmark(folder)
    # The name and metadata by which the Trainer finds them.
    save_file(unique_weights(module), folder / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
    write_json(folder / _SETTINGS_FILE, json.loads(json.dumps(settings, default=str)))


def explain_failed_checkpoint(error: Exception, writing: Path | None, folder: Path) -> None:
    """Raise a TrainingError from an error if it is one of writing a checkpoint; else do nothing.

    What was written of that checkpoint is removed, which also makes room.

    Args:
        error: that ended the run; torch's and safetensors' writers have their own for what a disk refuses.
        writing: the checkpoint that was being written, if one was.
        folder: the run's output directory.

    Raises:
        TrainingError: names the last whole checkpoint.
    """
    full = isinstance(error, WriteError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))
    if not full and writing is None:
        return
    if writing is not None and not is_complete(writing):
        shutil.rmtree(writing, ignore_errors=True)
    last = newest_complete(folder)
    kept = f"the last complete checkpoint, {last}, is kept" if last else "there is no complete checkpoint yet"
    raise TrainingError(
        f"{writing or folder} could not be written ({error}); {kept}. Free some space, then go on with "
        f"resume_from_checkpoint=True"
    ) from error
