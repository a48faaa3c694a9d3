"""Choice of the library that runs a model, and of the number format it computes in."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from cde_retrievers.encoder.backends.runtimes import RUNTIMES
from cde_retrievers.encoder.device import DTYPES, resolve_device, resolve_dtype
from cde_retrievers.errors import ConfigurationError, DeviceError

Backend = Literal["torch", "onnx", "openvino"]
ExportBackend = Literal["onnx", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
_TORCH_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What computes a model's vectors.

    Attributes:
        backend: the library: "torch", "onnx" (ONNX Runtime) or "openvino".
        precision: the format of the numbers it multiplies: "float32", "bfloat16", "float16" (torch alone) or "int8".
        device: where it computes.
        dtype: the number format of the model in torch, which holds the weights and what a context does.
    """

    backend: Backend
    precision: str
    device: torch.device
    dtype: torch.dtype


def resolve_arithmetic(
    device: str | torch.device, dtype: str | torch.dtype, backend: Backend, precision: Precision
) -> Arithmetic:
    """Return the arithmetic that these settings ask for.

    Precision "auto" is what `dtype` says with torch, and float32 with another backend: the most exact, so that an index
    answers alike under each.

    Raises:
        ConfigurationError: a name is unknown, the backend has no such precision, or `dtype` contradicts the others.
        DeviceError: the backend does not run on the device, or the processor has no arithmetic of this precision.
        MissingDependencyError: the backend is not installed; names the extra.
    """
    if backend not in get_args(Backend):
        raise ConfigurationError(f"backend must be one of {list(get_args(Backend))}, found {backend!r}")
    if precision not in get_args(Precision):
        raise ConfigurationError(f"precision must be one of {list(get_args(Precision))}, found {precision!r}")
    if backend == "torch":
        return _in_torch(device, dtype, precision)
    if dtype != "auto":
        raise ConfigurationError(
            f"dtype is a setting of the torch backend, and backend={backend!r} takes precision; leave dtype={dtype!r} "
            f"out, and give precision={list(RUNTIMES[backend].precisions)}"
        )
    return _in_runtime(device, backend, precision)


def _in_torch(device: str | torch.device, dtype: str | torch.dtype, precision: Precision) -> Arithmetic:
    if precision not in ("auto", *_TORCH_PRECISIONS):
        ways = [name for name, runtime in RUNTIMES.items() if precision in runtime.precisions]
        raise ConfigurationError(
            f"the torch backend has no {precision}; use backend={' or '.join(map(repr, ways))}, or precision="
            f"{' or '.join(map(repr, _TORCH_PRECISIONS))}"
        )
    if precision != "auto" and dtype not in ("auto", precision, DTYPES[precision]):
        raise ConfigurationError(f"precision={precision!r} and dtype={dtype!r} contradict each other; give one of them")
    resolved = resolve_device(device)
    chosen = resolve_dtype(dtype if precision == "auto" else precision, resolved)
    return Arithmetic("torch", str(chosen).removeprefix("torch."), resolved, chosen)


def _in_runtime(device: str | torch.device, backend: Backend, precision: Precision) -> Arithmetic:
    runtime = RUNTIMES[backend]
    chosen = "float32" if precision == "auto" else precision
    if chosen not in runtime.precisions:
        raise ConfigurationError(
            f"the {backend} backend has no {chosen}; use precision={' or '.join(map(repr, runtime.precisions))}"
        )
    if device != "auto" and resolve_device(device).type != "cpu":
        raise DeviceError(
            f"the {backend} backend runs on the CPU alone, and device {str(device)!r} was requested; "
            f"use device='cpu', or backend='torch'"
        )
    runtime.check(chosen)
    return Arithmetic(backend, chosen, torch.device("cpu"), torch.float32)
