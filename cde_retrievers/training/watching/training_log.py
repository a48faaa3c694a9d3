"""The log of a run: a line of JSON per entry, and learning curves."""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cde_retrievers.durable import make_directory
from cde_retrievers.training.watching.curves import draw_curves

LOG_FILE = "training_log.jsonl"
CURVES_FILE = "learning_curves.png"


class LogWriter(TrainerCallback):
    """Appends what the Trainer logs to `training_log.jsonl`, and draws `learning_curves.png` at the end."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Begin the file; a resumed run's with what was logged up to its checkpoint, and no further."""
        if state.is_world_process_zero:
            path = _path(args)
            make_directory(path.parent)
            path.write_text("".join(_line(entry) for entry in state.log_history), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Append the newest entry."""
        if state.is_world_process_zero and state.log_history:
            with _path(args).open("a", encoding="utf-8") as file:
                file.write(_line(state.log_history[-1]))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Draw the curves."""
        if state.is_world_process_zero:
            draw_curves(state.log_history, _path(args).with_name(CURVES_FILE))


def _path(args: TrainingArguments) -> Path:
    return Path(str(args.output_dir)) / LOG_FILE


def _line(entry: dict[str, float]) -> str:
    return json.dumps(entry, sort_keys=True) + "\n"
