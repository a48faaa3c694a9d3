"""Embedding in bulk: a plan of numbered shards that any number of machines work off, each row exactly once."""

from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer

if TYPE_CHECKING:
    from cde_retrievers.bulk.collection import CollectReport, collect
    from cde_retrievers.bulk.local_runner import run_local
    from cde_retrievers.bulk.plan_file import Plan
    from cde_retrievers.bulk.planning import plan
    from cde_retrievers.bulk.ray_runner import run_ray
    from cde_retrievers.bulk.scheduling import RunReport
    from cde_retrievers.bulk.worker import Worker, embed_shard

__all__ = ["CollectReport", "Plan", "RunReport", "Worker", "collect", "embed_shard", "plan", "run_local", "run_ray"]

# Imported when they are used: a program that only gives shards to workers does without torch.
_HOMES = {
    "CollectReport": "cde_retrievers.bulk.collection",
    "Plan": "cde_retrievers.bulk.plan_file",
    "RunReport": "cde_retrievers.bulk.scheduling",
    "Worker": "cde_retrievers.bulk.worker",
    "collect": "cde_retrievers.bulk.collection",
    "embed_shard": "cde_retrievers.bulk.worker",
    "plan": "cde_retrievers.bulk.planning",
    "run_local": "cde_retrievers.bulk.local_runner",
    "run_ray": "cde_retrievers.bulk.ray_runner",
}

__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
