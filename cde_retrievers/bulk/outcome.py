"""The result of one attempt at a shard: values that pass between processes."""

from dataclasses import dataclass

from cde_retrievers.errors import CDEError


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard that is there and complete.

    Attributes:
        number: of the shard.
        rows: its rows.
        was_there: whether it had been embedded before.
        seconds: spent embedding and writing.
        cut: texts that were longer than the model reads; unknown, so 0, if it was there.
    """

    number: int
    rows: int
    was_there: bool = False
    seconds: float = 0.0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ShardFailed:
    """An attempt that failed.

    Attributes:
        number: of the shard.
        reason: what happened, with the ids of the documents it happened at, if they are known.
        error: an error that every other shard would meet too, such as a full disk, which ends the run; else None.
    """

    number: int
    reason: str
    error: CDEError | None = None


Outcome = ShardDone | ShardFailed
