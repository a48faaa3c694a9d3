from inspect import unwrap

import pytest
import torch

from cde_retrievers.encoder import device
from cde_retrievers.encoder.batching import is_out_of_memory, run_batches
from cde_retrievers.encoder.device import resolve_device, resolve_dtype
from cde_retrievers.errors import ConfigurationError, DeviceError, DeviceMemoryError

CPU = torch.device("cpu")
auto_rule = unwrap(resolve_dtype)  # without the replacement of "auto" by `make test-bfloat16`


@pytest.fixture
def machine(monkeypatch):
    """A machine with the accelerators named."""

    def make(*, cuda=0, mps=False, cpu_capabilities=(), cuda_bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: cuda_bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        capabilities = dict.fromkeys(cpu_capabilities, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    return make


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(2, True, "cuda"), (0, True, "mps"), (0, False, "cpu"), (1, False, "cuda")]
)
def test_auto_takes_cuda_then_mps_then_cpu(machine, cuda, mps, expected):
    machine(cuda=cuda, mps=mps)
    assert resolve_device("auto").type == expected


def test_an_explicit_device_is_honoured(machine):
    machine(cuda=2, mps=False)
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cuda", r"'cuda' was requested, but this machine has \['cpu'\]"),
        ("mps", r"this machine has \['cpu'\]"),
        ("gpu", r"'gpu' is not a device; use one of \['auto', 'cpu'\]"),
        (None, "is not a device"),
    ],
)
def test_a_device_that_is_not_there_names_what_is(machine, asked, message):
    machine()
    with pytest.raises(DeviceError, match=message):
        resolve_device(asked)


def test_a_cuda_number_too_high_says_how_many_there_are(machine):
    machine(cuda=2)
    with pytest.raises(DeviceError, match="there are 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("capabilities", [(), ("avx2",), ("avx512_bf16", "amx_bf16"), ("bf16",)])
def test_the_rule_of_auto_is_float32_on_every_cpu(machine, capabilities):
    machine(cpu_capabilities=capabilities)
    assert auto_rule("auto", CPU) is torch.float32


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_rule_of_auto_is_bfloat16_on_cuda_that_computes_in_it_natively(machine, supported, expected):
    machine(cuda=1, cuda_bf16=supported)
    assert auto_rule("auto", torch.device("cuda")) is expected


def test_explicit_bf16_on_cuda_without_it_is_refused(machine):
    machine(cuda=1, cuda_bf16=False)
    with pytest.raises(DeviceError, match="no bfloat16 arithmetic; use dtype='float16'"):
        resolve_dtype("bfloat16", torch.device("cuda"))


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_an_explicit_dtype_is_honoured(dtype):
    assert resolve_dtype(dtype, CPU) is torch.bfloat16


@pytest.mark.parametrize("dtype", ["half", torch.int8, None])
def test_an_unknown_dtype_is_refused(dtype):
    with pytest.raises(ConfigurationError, match="use one of"):
        resolve_dtype(dtype, CPU)


class Memory:
    """Runs groups of numbers, but only up to `capacity` of them at once."""

    def __init__(self, capacity, error):
        self.capacity, self.error, self.tried = capacity, error, []

    def __call__(self, items):
        self.tried.append(len(items))
        if len(items) > self.capacity:
            raise self.error
        return [10 * item for item in items]


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_running_out_of_memory_halves_the_batch_and_goes_on(error):
    memory = Memory(capacity=3, error=error)
    done = list(run_batches([range(0, 8), range(8, 16)], memory, len))
    assert [item for items, _ in done for item in items] == list(range(16))
    assert all(result == [10 * item for item in items] for items, result in done)
    # 8 and 4 fail once; the second batch is cut before it is tried.
    assert memory.tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_single_text_that_does_not_fit_is_an_error_with_advice(error):
    with pytest.raises(DeviceMemoryError, match=r"a single text does not fit.*device='cpu'"):
        list(run_batches([range(4)], Memory(capacity=0, error=error), len))


def test_other_errors_are_not_taken_for_lack_of_memory():
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(run_batches([range(4)], Memory(capacity=0, error=error), len))
    assert not is_out_of_memory(MemoryError("out of memory"))


def test_the_cpus_own_error_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


def test_every_kind_of_device_has_a_token_budget():
    assert {device.default_token_budget(torch.device(kind)) > 0 for kind in ("cpu", "cuda", "mps")} == {True}
