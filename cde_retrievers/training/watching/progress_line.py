"""One line that says how training goes."""

from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# Name in the log, how it is called on the line, and its format.
_SHOWN = (
    ("loss", "loss", "{:.3f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("pairs_per_second", "pairs/s", "{:.0f}"),
    ("masked_share", "masked", "{:.1%}"),
    ("memory_gib", "memory", "{:.1f} GiB"),
    ("eval_ndcg@10", "nDCG@10", "{:.3f}"),
)


class ProgressLine(TrainerCallback):
    """A bar over the steps with the last loss, accuracy, pairs per second, masked share and memory.

    Args:
        show: True or False, or None for where somebody watches: in a terminal or a notebook. On the first process only.
    """

    def __init__(self, show: bool | None = None) -> None:
        self._disable = None if show is None else not show  # in tqdm's terms
        self._bar: tqdm[Any] | None = None
        self._last: dict[str, float] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Draw the bar, a resumed run's from its step on."""
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="Training", unit="step", disable=self._disable
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance it."""
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
        """Show the newest figures."""
        self._last.update(logs or {})
        if self._bar is not None:
            self._bar.set_postfix_str(progress_text(self._last))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def progress_text(logs: dict[str, float]) -> str:
    """The figures of a log entry on one line, those it has."""
    return ", ".join(f"{title} {form.format(logs[name])}" for name, title, form in _SHOWN if name in logs)
