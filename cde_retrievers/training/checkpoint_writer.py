"""The checkpoints of a run as they are written: marked when complete, old ones deleted, failures explained."""

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
    """Marks each checkpoint when all processes have written their part, then deletes old ones.

    The Trainer would delete old ones before the marker is written; a run killed in between would have none.

    Args:
        identity: of the run.
        limit: checkpoints to keep; all if None.

    Attributes:
        writing: the checkpoint that is being written, or None.
    """

    def __init__(self, identity: RunIdentity, limit: int | None) -> None:
        self.writing: Path | None = None
        self._identity = identity
        self._limit = limit

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark the checkpoint that the Trainer has written."""
        wait_for_all()
        if args.should_save and self.writing is not None:
            mark_complete(self.writing, self._identity)
            delete_old(self.writing.parent, self._limit, state.best_model_checkpoint)
        self.writing = None

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Check the checkpoint that the Trainer has loaded the best weights from, if it did.

        Raises:
            TrainingError: the checkpoint is missing or damaged. The Trainer would silently keep the last weights, or
                take damaged ones.
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
    """Write every weight under one name, and the run's settings.

    Args:
        folder: created if it does not exist. The marker of a checkpoint is removed first.
        module: the one that is trained.
        settings: of the run.
    """
    make_directory(folder)
    unmark(folder)
    # The name and metadata that the Trainer expects.
    save_file(unique_weights(module), folder / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
    write_json(folder / _SETTINGS_FILE, json.loads(json.dumps(settings, default=str)))


def explain_failed_checkpoint(error: Exception, writing: Path | None, folder: Path) -> None:
    """Raise a TrainingError if a checkpoint could not be written or read; else do nothing.

    An incomplete checkpoint is removed, which also frees space.

    Args:
        error: ended the run. On a full disk torch and safetensors raise errors of their own.
        writing: the checkpoint that was being written, or None.
        folder: the run's output directory.

    Raises:
        TrainingError: a checkpoint could not be written or read; names the last complete one.
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
