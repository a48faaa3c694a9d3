"""OpenVINO on the CPU: float32, bfloat16, or int8 calibrated on texts. Axes: B texts, L tokens, W width."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from cde_retrievers.encoder.backends.onnx_file import write_onnx
from cde_retrievers.encoder.backends.runtime import Graph, Integers, Runtime
from cde_retrievers.errors import DeviceError
from cde_retrievers.model.first_stage import FirstStage
from cde_retrievers.validation.vectors import Embeddings

_FILE = "model.xml"
_SOURCE = "model.onnx"
_FORMATS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoRuntime(Runtime):
    """Reads the ONNX file: OpenVINO's converter of torch models would send usage data to its makers, its reader not."""

    name = "openvino"
    precisions = ("float32", "bfloat16", "int8")
    runs = ("openvino",)
    writes = ("onnx", "onnxscript", "nncf")
    calibrated = ("int8",)

    def check(self, precision: str) -> None:
        """As `Runtime.check`."""
        super().check(precision)
        if precision == "bfloat16" and not _has_bfloat16():
            raise DeviceError(
                "this processor has no bfloat16 arithmetic that OpenVINO uses; use precision='float32' or 'int8'"
            )

    def export(
        self, stage: FirstStage, folder: Path, precision: str, calibration: Sequence[Integers], longest: int
    ) -> None:
        """As `Runtime.export`."""
        openvino = import_module("openvino")
        write_onnx(stage, folder / _SOURCE, longest)
        model = _core().read_model(folder / _SOURCE)
        if precision == "int8":
            model = _quantised(model, calibration)
        openvino.save_model(model, folder / _FILE, compress_to_fp16=False)
        (folder / _SOURCE).unlink()

    def load(self, folder: Path, precision: str, threads: int) -> Graph:
        """As `Runtime.load`."""
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _float_format(precision),
            "NUM_STREAMS": "1",
        }
        compiled = _core().compile_model(folder / _FILE, "CPU", settings)
        lock = Lock()

        def run(input_ids: Integers, attention_mask: Integers) -> Embeddings:
            with lock:  # a compiled model keeps one set of buffers for all its callers
                vectors: Embeddings = compiled({"input_ids": input_ids, "attention_mask": attention_mask})[0]
            return vectors

        return run


@cache
def _core() -> Any:
    """Return the process' one `openvino.Core`, which lives as long as it.

    Each that runs on a CPU gives signals a stack, and frees it when it ends. Of two that end in the order in which they
    were made, the second restores the stack that the first has freed, and the next signal, such as Ctrl-C, kills the
    process (OpenVINO 2026.4).
    """
    return import_module("openvino").Core()


def _float_format(precision: str) -> str:
    """Return the format of what is computed in floating point, which in int8 is all but the quantised products."""
    if precision == "int8":
        # Vectors of either format are close enough for one index; a test holds their cosine.
        return "bf16" if _has_bfloat16() else "f32"
    return _FORMATS[precision]


def _has_bfloat16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _quantised(model: object, calibration: Sequence[Integers]) -> object:
    nncf = _nncf()
    # Its own `set_log_level` would also change handlers, which may be the program's.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(calibration, _one_text),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )


def _one_text(row: Integers) -> dict[str, Integers]:
    # Alone in its batch, so that padding has no part in the ranges of activations.
    return {"input_ids": row[np.newaxis], "attention_mask": np.ones_like(row)[np.newaxis]}


def _nncf() -> ModuleType:
    """Import NNCF with its usage statistics switched off, which it otherwise sends to its makers."""
    if "nncf" in sys.modules:
        return sys.modules["nncf"]
    with _environment("NNCF_CI", "1"):
        return import_module("nncf")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
