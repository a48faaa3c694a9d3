"""The backends by name, torch left out."""

from collections.abc import Mapping

from cde_retrievers.encoder.backends.onnx_runtime import OnnxRuntime
from cde_retrievers.encoder.backends.openvino_runtime import OpenVinoRuntime
from cde_retrievers.encoder.backends.runtime import Runtime

RUNTIMES: Mapping[str, Runtime] = {runtime.name: runtime for runtime in (OnnxRuntime(), OpenVinoRuntime())}
