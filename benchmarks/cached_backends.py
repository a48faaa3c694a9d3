"""What `cached` conditioning would cost in ONNX Runtime and OpenVINO, which the library runs in torch alone.

    pip install '.[onnx,openvino]'
    python benchmarks/cached_backends.py --output benchmarks/results/cached_backends.json

Random weights of all-MiniLM-L6-v2's shape under 512 context documents. The graph takes the context's keys and values
as inputs, once for all texts. Attention is written out, since neither backend has an operator that returns softmax
sums: one softmax over the context's logits and the text's, and one over the text's alone. In float32 the vectors must
be those of torch. All ways embed the same batch in turn, in one thread, without padding; a figure is processor time
over that of the plain bi-encoder in torch and float32, the median of the ratios of each turn.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cost_of_context import TURNS, Work, batch_of, model_of, ratios
from processor import has_native_bf16, machine
from torch import Tensor, nn

from cde_retrievers import ContextualModel
from cde_retrievers.encoder.backends import onnx_runtime, openvino_runtime
from cde_retrievers.model import cached_conditioning
from cde_retrievers.model.cached_conditioning import CachedSecondStage, ContextCache
from cde_retrievers.model.config import CachedConditioning
from cde_retrievers.model.context_attention import LayerContext, TextHeads

CONTEXT, LONGEST, CALIBRATION = 512, 256, 60
BATCHES = {"one query": (12, 1), "32 texts of 64 tokens": (64, 32), "8 of 256 tokens": (256, 8)}
LABELS = {
    "torch float32": "torch float32, as it is",
    "torch bfloat16": "torch bfloat16, as it is",
    "onnx float32": "ONNX Runtime float32",
    "onnx int8": "ONNX Runtime int8",
    "openvino float32": "OpenVINO float32",
    "openvino bfloat16": "OpenVINO bfloat16",
    "openvino int8": "OpenVINO int8",
}
Arrays = dict[str, np.ndarray]


def written_out(context: LayerContext, texts: TextHeads, strength: Tensor) -> Tensor:
    """The twin of `attend_under` in operators that every backend has."""
    queries = texts.queries * (texts.queries.shape[-1] ** -0.5 if texts.scaling is None else texts.scaling)
    own = queries @ texts.keys.transpose(2, 3)
    if texts.mask is not None:
        own = own.masked_fill(~texts.mask, torch.finfo(own.dtype).min)
    foreign = queries @ context.keys.transpose(2, 3)
    size = context.keys.shape[2]
    shares = torch.cat([foreign, own], dim=-1).softmax(dim=-1)
    both = shares[..., :size] @ context.values + shares[..., size:] @ texts.values
    alone = own.softmax(dim=-1) @ texts.values
    return alone + strength.view(1, -1, 1, 1) * (both - alone)


class UnderContext(nn.Module):
    """The second stage of a `cached` model, with keys and values (layers, H, N, D) as inputs."""

    def __init__(self, stage: CachedSecondStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, input_ids: Tensor, attention_mask: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Map ids and mask (B, L) -> (B, W)."""
        pairs = zip(keys.unsqueeze(1).unbind(0), values.unsqueeze(1).unbind(0), strict=True)
        layers = tuple(LayerContext(*pair) for pair in pairs)
        return self.stage.embed(input_ids, attention_mask, ContextCache(layers, None))


def prepared(model: ContextualModel) -> ContextCache:
    """A random context."""
    vectors = torch.randn(CONTEXT, model.width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cache: ContextCache = model.second_stage.prepare(vectors)
    return cache


def context_inputs(model: ContextualModel) -> Arrays:
    """Keys and values of that context, as the graph takes them."""
    layers = prepared(model).layers
    found = {"keys": [layer.keys for layer in layers], "values": [layer.values for layer in layers]}
    return {name: torch.cat(parts).numpy().copy() for name, parts in found.items()}


def write_graph(model: ContextualModel, path: Path) -> None:
    """Export for every number of texts, tokens and context documents."""
    texts, tokens = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=1, max=LONGEST)
    documents = {2: torch.export.Dim("documents", min=1)}
    context = [torch.from_numpy(array[:, :, :16].copy()) for array in context_inputs(model).values()]
    names = ("input_ids", "attention_mask", "keys", "values")
    shapes: Sequence[Any] = [{0: texts, 1: tokens}, {0: texts, 1: tokens}, documents, documents]
    with torch.no_grad(), patch.object(cached_conditioning, "attend_under", written_out):
        program = torch.onnx.export(
            UnderContext(model.second_stage).eval(),
            (torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long), *context),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=("vectors",),
            dynamic_shapes=dict(zip(names, shapes, strict=True)),
        )
        assert program is not None
        program.save(path)


def in_onnx(path: Path) -> Callable[[Arrays], Any]:
    """The graph in ONNX Runtime, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def in_openvino(model: Any, number_format: str) -> Callable[[Arrays], Any]:
    """The graph in OpenVINO, in one thread."""
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": number_format, "NUM_STREAMS": "1"}
    compiled = openvino_runtime._core().compile_model(model, "CPU", settings)
    return lambda inputs: compiled(inputs)[0]


def in_openvino_int8(path: Path, context: Arrays) -> Callable[[Arrays], Any]:
    """The same quantised as the library quantises first stages, calibrated on random texts."""
    nncf = openvino_runtime._nncf()
    random = np.random.default_rng(0)
    rows = [random.integers(1_000, 30_000, (1, length)) for length in random.integers(8, 128, CALIBRATION)]
    dataset = nncf.Dataset(rows, lambda row: {"input_ids": row, "attention_mask": np.ones_like(row), **context})
    quantised = nncf.quantize(
        openvino_runtime._core().read_model(path),
        dataset,
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=CALIBRATION,
    )
    return in_openvino(quantised, openvino_runtime._float_format("int8"))


def graphs(model: ContextualModel, folder: Path) -> dict[str, Callable[[Arrays], Any]]:
    """Every way that runs the graph."""
    path, int8 = folder / "model.onnx", folder / "int8.onnx"
    write_graph(model, path)
    onnx_runtime._quantise(path, int8)
    found = {"onnx float32": in_onnx(path), "onnx int8": in_onnx(int8), "openvino float32": in_openvino(path, "f32")}
    if openvino_runtime._has_bfloat16():
        found["openvino bfloat16"] = in_openvino(path, "bf16")
    return {**found, "openvino int8": in_openvino_int8(path, context_inputs(model))}


def in_torch(model: ContextualModel, batch: tuple[Tensor, Tensor]) -> Work:
    """What the library does."""
    context = prepared(model)

    @torch.inference_mode()
    def embed() -> Tensor:
        return model.second_stage.embed(*batch, context)

    return embed


def ways(model: ContextualModel, exported: dict[str, Callable[[Arrays], Any]], batch: Any) -> dict[str, Work]:
    """What is timed on one batch."""
    inputs = {"input_ids": batch[0].numpy(), "attention_mask": batch[1].numpy(), **context_inputs(model)}

    @torch.inference_mode()
    def plain() -> Tensor:
        pooled: Tensor = model.first_stage.pooled(*batch)
        return pooled

    found: dict[str, Work] = {"plain": plain, "torch float32": in_torch(model, batch)}
    if has_native_bf16():
        found["torch bfloat16"] = in_torch(model_of(CachedConditioning()).bfloat16(), batch)
    for name, run in exported.items():
        found[name] = lambda run=run: run(inputs)
    exact = found["torch float32"]()
    for name in ("onnx float32", "openvino float32"):
        torch.testing.assert_close(torch.from_numpy(found[name]()), exact, atol=1e-3, rtol=1e-3)
    return found


def table(result: dict[str, Any]) -> str:
    """One row for each way, one column for each batch."""
    columns = result["ratios"]
    lines = [f"| `cached`, 512 documents | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, label in LABELS.items():
        if all(name in found for found in columns.values()):
            lines.append(f"| {label} | {' | '.join(f'{found[name]:.2f}' for found in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=TURNS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = model_of(CachedConditioning())
    with TemporaryDirectory() as folder:
        exported = graphs(model, Path(folder))
        found = {
            name: ratios(ways(model, exported, batch_of(*size)), arguments.turns) for name, size in BATCHES.items()
        }
    packages = ("torch", "transformers", "onnxruntime", "openvino", "nncf")
    result = {
        "machine": machine(packages),
        "turns": arguments.turns,
        "ratios": found,
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
