"""Collecting embedded shards into an index or a store, one after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.bulk.paths import shard_file
from cde_retrievers.bulk.plan_file import Plan, loaded_plan
from cde_retrievers.bulk.shard_file import Shard, read_shard, require_parquet
from cde_retrievers.bulk.targets import target_of
from cde_retrievers.errors import ShardError
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.signatures import validated

_NAMED = 10


@dataclass(frozen=True, slots=True)
class CollectReport:
    """The result of collecting.

    Attributes:
        shards: shards of the plan.
        rows: rows of the plan.
        added: rows that were not there before.
    """

    shards: int
    rows: int
    added: int


@validated
def collect(plan: Plan | str | Path, into: object, *, show_progress: bool | None = None) -> CollectReport:
    """Add all shards of a plan to an index or a store, in order; one shard at a time is in memory.

    Every value of every shard is checked. After an interruption the same call continues: rows that are there as they
    are in the plan are left alone, so each is there once. In a store of LangChain or LlamaIndex, whose metadata may not
    be as they were given, that is those with the same id and text.

    Args:
        plan: the plan, or its directory.
        into: a `ContextualIndex` of the plan's context; a vector store of LangChain or a `VectorStoreIndex` of
            LlamaIndex whose embeddings have that context, which is given the vectors and embeds nothing; or the path of
            a directory of its own for Parquet files.
        show_progress: None shows a bar for long work only.

    Raises:
        ShardError: shards are missing, cut, damaged or of another plan; raised for missing ones before anything is
            added. Run the plan again, which embeds them.
        ContextMismatchError: the index is of another context, or a store has rows of the plan under another.
        PathInUseError: the directory holds other files.
        ConfigurationError: `into` is something else, or a path is a URL.
        PlanError: the plan is missing or damaged.
        WriteError, IndexLockedError, ReadOnlyError: as every change of an index; what is complete stays added.
    """
    require_parquet()
    known, target = loaded_plan(plan), target_of(into)
    refuse_missing(known)
    target.check(known)
    added = 0
    with progress_bar(known.rows, show_progress, "Collecting", "document") as bar:
        for number, shard in _shards(known):
            added += target.add(known, number, shard)
            bar.update(len(shard.documents))
    return CollectReport(len(known.shards), known.rows, added)


def missing_shards(plan: Plan) -> list[int]:
    """Return the numbers of the shards whose files are not there; those that are may still be damaged."""
    return [number for number in range(len(plan.shards)) if not shard_file(plan.directory, number).is_file()]


def refuse_missing(plan: Plan) -> None:
    """Raise ShardError, which names them, if shards are not embedded yet."""
    missing = missing_shards(plan)
    if missing:
        some = ", ".join(map(str, missing[:_NAMED])) + (" and others" if len(missing) > _NAMED else "")
        raise ShardError(
            f"{len(missing)} of {len(plan.shards)} shards are not embedded yet ({some}); run the plan, which embeds "
            f"what is missing"
        )


def _shards(plan: Plan) -> Iterator[tuple[int, Shard]]:
    for number in range(len(plan.shards)):
        yield number, read_shard(shard_file(plan.directory, number), plan.identity(number))
