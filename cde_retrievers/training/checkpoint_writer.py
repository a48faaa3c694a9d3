"""Writing checkpoints: marked when they are whole, old ones deleted after that, failures explained."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import SAFE_WEIGHTS_NAME

from cde_retrievers.errors import TrainingError, WriteError
from cde_retrievers.model.checkpoints import unique_weights
from cde_retrievers.storage.hashing import write_json
from cde_retrievers.storage.sync import make_directory
from cde_retrievers.training.checkpoints import (
    RunIdentity,
    check_undamaged,
    delete_old,
    is_complete,
    mark_complete,
    newest_complete,
    unmark,
)
from cde_retrievers.training.distributed import wait_for_all

_SETTINGS_FILE = "training_config.json"


class CheckpointKeeper(TrainerCallback):
    """Marks each checkpoint when all processes have written their part of it, then deletes old ones.

    The Trainer itself would delete old ones before the marker is written, and a run killed in between would have none.

    Attributes:
        writing: the checkpoint that is being written, or None.

    Args:
        identity: what identifies the run.
        limit: checkpoints to keep; all if None.
    """

    def __init__(self, identity: RunIdentity, limit: int | None) -> None:
        self.writing: Path | None = None
        self._identity = identity
        self._limit = limit

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when the Trainer has written a checkpoint."""
        wait_for_all()
        if args.should_save and self.writing is not None:
            mark_complete(self.writing, self._identity)
            delete_old(self.writing.parent, self._limit, state.best_model_checkpoint)
        self.writing = None

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when the Trainer has loaded the best weights, if it was told to.

        Raises:
            TrainingError: the checkpoint with them is gone or damaged; the Trainer keeps the last weights then, or
                those that it found.
        """
        if not (args.load_best_model_at_end and args.should_save and state.best_model_checkpoint):
            return
        best = Path(state.best_model_checkpoint)
        if not is_complete(best):
            raise TrainingError(
                f"{best}, which has the best weights, is missing or incomplete; restore it, or train with "
                f"load_best_model_at_end=False to have the last weights"
            )
        check_undamaged(best, best.parent)


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
    """Raise a TrainingError from an error if it is one of writing or reading a checkpoint; else do nothing.

    What was written of that checkpoint is removed, which also makes room.

    Args:
        error: that ended the run; torch's and safetensors' writers have their own for what a disk refuses.
        writing: the checkpoint that was being written, if one was.
        folder: the run's output directory.

    Raises:
        TrainingError: names the last whole checkpoint.
    """
    if isinstance(error, SafetensorError) and writing is None:
        raise TrainingError(
            f"the weights of a checkpoint in {folder} could not be read ({error}); delete that checkpoint, and "
            f"continue from another one with resume_from_checkpoint"
        ) from error
    full = isinstance(error, WriteError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))
    if not full and writing is None:
        return
    if writing is not None and not is_complete(writing):
        shutil.rmtree(writing, ignore_errors=True)
    last = newest_complete(folder)
    kept = f"the last complete checkpoint, {last}, is kept" if last else "there is no complete checkpoint yet"
    raise TrainingError(
        f"{writing or folder} could not be written ({error}); {kept}. Free some space, then continue with "
        f"resume_from_checkpoint=True"
    ) from error
