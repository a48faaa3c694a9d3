"""ONNX Runtime: float32, or int8 with each batch quantised as it comes. Axes: B texts, L tokens, W width."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from cde_retrievers.encoder.backends.onnx_file import write_onnx
from cde_retrievers.encoder.backends.runtime import Graph, Integers, Runtime
from cde_retrievers.model.first_stage import FirstStage
from cde_retrievers.validation.vectors import Embeddings

_FILE = "model.onnx"
_FLOAT_FILE = "float32.onnx"


class OnnxRuntime(Runtime):
    """Weights of int8 have one scale per output; activations get theirs from each batch, so nothing is calibrated."""

    name = "onnx"
    precisions = ("float32", "int8")
    runs = ("onnxruntime",)
    writes = ("onnx", "onnxscript")
    tokens_per_thread = 512  # docs/speed.md, Batches

    def export(
        self, stage: FirstStage, folder: Path, precision: str, calibration: Sequence[Integers], longest: int
    ) -> None:
        """As `Runtime.export`; `calibration` is not used."""
        if precision == "float32":
            write_onnx(stage, folder / _FILE, longest)
            return
        write_onnx(stage, folder / _FLOAT_FILE, longest)
        _quantise(folder / _FLOAT_FILE, folder / _FILE)
        (folder / _FLOAT_FILE).unlink()

    def load(self, folder: Path, precision: str, threads: int) -> Graph:
        """As `Runtime.load`."""
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # A thread that waits would otherwise keep a core busy, which torch's threads need for what comes between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(folder / _FILE, options, providers=["CPUExecutionProvider"])

        def run(input_ids: Integers, attention_mask: Integers) -> Embeddings:
            vectors: Embeddings = session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})[0]
            return vectors

        return run


def _quantise(source: Path, target: Path) -> None:
    onnx, quantization = import_module("onnx"), import_module("onnxruntime.quantization")
    model = onnx.load(source)
    # The exporter has inferred shapes and folded constants; without this mark a warning asks for that to be done.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    quantization.quantize_dynamic(
        model,
        target,
        per_channel=True,
        # Without VNNI a processor adds pairs of products in 16 bits: 7 bits for the weights keep that from overflowing.
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
    )
