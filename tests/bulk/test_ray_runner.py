"""How many workers a Ray cluster holds; the runs themselves are in tests/services."""

import pytest

from cde_retrievers.bulk.ray_runner import _pool_size
from cde_retrievers.errors import ConfigurationError


@pytest.mark.parametrize(
    ("resources", "workers", "cpus", "gpus", "size"),
    [
        ({"CPU": 8.0}, None, 1, 0, 7),
        ({"CPU": 8.0}, 8, 1, 0, 8),
        ({"CPU": 1.0}, None, 1, 0, 1),
        ({"CPU": 8.0}, None, 2, 0, 3),
        ({"CPU": 32.0, "GPU": 4.0}, None, 1, 1, 4),
        ({"CPU": 4.0, "GPU": 8.0}, None, 1, 1, 3),
        ({"CPU": 32.0, "GPU": 4.0}, None, 1, 0.5, 8),
        ({"GPU": 2.0}, None, 0, 1, 2),
    ],
)
def test_one_cpu_is_left_for_other_work(resources, workers, cpus, gpus, size):
    assert _pool_size(resources, workers, cpus, gpus) == size


@pytest.mark.parametrize(
    ("resources", "workers", "cpus", "gpus"),
    [({"CPU": 2.0}, 3, 1, 0), ({"CPU": 2.0}, None, 1, 1), ({"CPU": 2.0}, None, 4, 0), ({"CPU": 2.0}, 0, 1, 0)],
)
def test_workers_that_would_wait_for_ever_are_refused(resources, workers, cpus, gpus):
    with pytest.raises(ConfigurationError):
        _pool_size(resources, workers, cpus, gpus)


@pytest.mark.parametrize(("cpus", "gpus"), [(0, 0), (-1, 1), (1, -1)])
def test_a_worker_needs_something(cpus, gpus):
    with pytest.raises(ConfigurationError, match="needs CPUs or GPUs"):
        _pool_size({"CPU": 2.0, "GPU": 2.0}, None, cpus, gpus)
