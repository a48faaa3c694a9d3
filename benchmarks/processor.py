"""What figures of time depend on: the processor, and the packages that compute."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import torch

# Capability names as torch reports them: x86 with native bf16 products, Arm with the bf16 extension.
_NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


def has_native_bf16() -> bool:
    """Whether torch in bfloat16 is not many times slower than in float32 here."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag) for flag in _NATIVE_BF16)


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """The processor and the versions of these packages, for a result."""
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "packages": {name: version(name) for name in sorted(packages)},
    }
