"""A training run that is interrupted by Ctrl-C saves a checkpoint and ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class SaveWhenInterrupted(TrainerCallback):
    """Writes a checkpoint after the step in which Ctrl-C came, then stops; a second Ctrl-C stops at once.

    With several processes, which would notice it at different steps, the first Ctrl-C stops at once.

    Args:
        say: prints a message.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._was_asked = False
        self._before: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen, unless Ctrl-C is ignored, as in a program that was started in the background."""
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if args.world_size == 1 and not ignored and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._remember)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Request a checkpoint."""
        if self._was_asked:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, now that the checkpoint is complete."""
        if self._was_asked:
            raise KeyboardInterrupt

    def stop_listening(self) -> None:
        """Restore the earlier handling of Ctrl-C."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._was_asked = True
        self.stop_listening()
        self._say("interrupted: a checkpoint is written after this step; Ctrl-C again stops at once")


@contextmanager
def saving_when_interrupted(say: Callable[[str], None]) -> Iterator[SaveWhenInterrupted]:
    """Yield a callback that listens to Ctrl-C while it trains, until the block ends."""
    callback = SaveWhenInterrupted(say)
    try:
        yield callback
    finally:
        callback.stop_listening()
