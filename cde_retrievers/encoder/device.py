"""Choice of device, number format and batch size."""

import torch

from cde_retrievers.errors import ConfigurationError, DeviceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Padded tokens per forward pass. A CPU is fastest while activations stay in its caches.
_TOKEN_BUDGETS = {"cpu": 4_096, "mps": 16_384, "cuda": 65_536}
# A CPU starts a further batch in less time than it takes to compute this many padded tokens of one.
_CPU_PADDING = 128


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device to compute on; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the requested device does not exist on this machine.
    """
    available = _available_devices()
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"{device!r} is not a device; use one of {['auto', *available]}") from error
    if chosen.type not in {name.split(":")[0] for name in available}:
        raise DeviceError(
            f'device {str(chosen)!r} was requested, but this machine has {available}; use one of these, or "auto"'
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {str(chosen)!r} was requested, but there are {torch.cuda.device_count()} CUDA devices, "
            f"counted from cuda:0"
        )
    return chosen


def _available_devices() -> list[str]:
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the number format of the forward pass.

    "auto" takes bfloat16 on a CUDA device that computes in it natively, else float32. On a CPU it is always float32,
    even if the processor has bfloat16: in bfloat16 a score differs in the third digit between batches, and an index
    must answer alike on every machine.

    Raises:
        DeviceError: the device cannot compute in the requested format.
        ConfigurationError: the name is unknown.
    """
    if dtype == "auto":
        return torch.bfloat16 if _has_native_bf16(device) else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise ConfigurationError(f"dtype {dtype!r} is unknown; use one of {['auto', *DTYPES]}")
    if chosen is torch.bfloat16 and device.type == "cuda" and not _has_native_bf16(device):
        raise DeviceError(f"{device} has no bfloat16 arithmetic; use dtype='float16' or 'float32'")
    return chosen


def _has_native_bf16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def default_token_budget(device: torch.device) -> int:
    """Return the number of padded tokens for one forward pass on `device`."""
    return _TOKEN_BUDGETS[device.type]


def default_padding_limit(device: torch.device) -> int:
    """Return how many tokens of one forward pass on `device` may be padding."""
    return _CPU_PADDING if device.type == "cpu" else default_token_budget(device)
