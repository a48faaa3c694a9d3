"""How many workers a Ray cluster holds, and addresses without one; the runs themselves are in tests/services."""

import socket
from types import SimpleNamespace

import pytest

from cde_retrievers.bulk.ray_runner import _connect, _pool_size
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


@pytest.fixture
def closed_port():
    """A port that nothing listens at, and that nothing else takes meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_before_ray_tries_it(closed_port, scheme):
    address, tried = f"{scheme}127.0.0.1:{closed_port}", []
    with pytest.raises(ConfigurationError, match=rf"no Ray cluster at '{address}' .*refused.*ray start --head"):
        _connect(SimpleNamespace(init=lambda **options: tried.append(options)), address)
    assert tried == []


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigurationError, match=r"no Ray cluster at .* host:port"):
        _connect(SimpleNamespace(init=lambda **options: None), address)


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError, ValueError])
def test_what_ray_says_of_an_address_is_told(error):
    def init(**options):
        raise error("as Ray says it")

    with pytest.raises(ConfigurationError, match=r"no Ray cluster at 'auto' \(as Ray says it\)"):
        _connect(SimpleNamespace(init=init), "auto")
