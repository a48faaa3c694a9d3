"""A log entry for the last step, which falls between two entries as a rule."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class LogLastStep(TrainerCallback):
    """Asks for an entry after the last step, so that a run shorter than `logging_steps` has a loss to show too."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for it."""
        if state.global_step >= state.max_steps:
            control.should_log = True
