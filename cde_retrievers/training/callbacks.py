"""Callbacks that report on a run: the log file, the progress line, and a log entry for the last step."""

import json
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cde_retrievers.storage.sync import make_directory

LOG_FILE = "training_log.jsonl"


class LogWriter(TrainerCallback):
    """Writes the Trainer's log to `training_log.jsonl`, one line of JSON per entry."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Begin the file. In a resumed run it starts with the entries up to the checkpoint."""
        if state.is_world_process_zero:
            path = _path(args)
            make_directory(path.parent)
            path.write_text("".join(_line(entry) for entry in state.log_history), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Append the newest entry."""
        if state.is_world_process_zero and state.log_history:
            with _path(args).open("a", encoding="utf-8") as file:
                file.write(_line(state.log_history[-1]))


def _path(args: TrainingArguments) -> Path:
    return Path(str(args.output_dir)) / LOG_FILE


def _line(entry: dict[str, float]) -> str:
    return json.dumps(entry, sort_keys=True) + "\n"


class LogLastStep(TrainerCallback):
    """Logs the last step too, so that a run shorter than `logging_steps` has a loss."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request a log entry after the last step."""
        if state.global_step >= state.max_steps:
            control.should_log = True


# Name in the log, name on the line, and format.
_SHOWN = (
    ("loss", "loss", "{:.3f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("pairs_per_second", "pairs/s", "{:.0f}"),
    ("masked_share", "masked", "{:.1%}"),
    ("memory_gib", "memory", "{:.1f} GiB"),
    ("eval_ndcg@10", "nDCG@10", "{:.3f}"),
)


class ProgressLine(TrainerCallback):
    """A progress bar with the last loss, accuracy, pairs per second, masked share and memory, on the first process.

    Args:
        show: None for a bar in a terminal or a notebook only.
    """

    def __init__(self, show: bool | None = None) -> None:
        self._disable = None if show is None else not show  # tqdm's setting
        self._bar: tqdm[Any] | None = None
        self._last: dict[str, float] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Draw the bar; a resumed run begins at its step."""
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="Training", unit="step", disable=self._disable
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the newest figures next to the bar."""
        self._last.update(logs or {})
        if self._bar is not None:
            self._bar.set_postfix_str(progress_text(self._last))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def progress_text(logs: dict[str, float]) -> str:
    """The figures of a log entry on one line."""
    return ", ".join(f"{title} {form.format(logs[name])}" for name, title, form in _SHOWN if name in logs)
