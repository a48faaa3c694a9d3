"""sentence-transformers' ONNX and OpenVINO backends and fastembed, for `speed.py --peers`, in an environment of theirs.

They need optimum, which asks for another transformers than this library; so this file imports nothing of the library.
fastembed reads the ONNX file that sentence-transformers wrote.

    python -m venv peers
    peers/bin/pip install torch==2.13.0 'sentence-transformers[onnx,openvino]' nncf 'datasets<4.6' fastembed
    python benchmarks/speed.py --peers peers/bin/python --output <file>

`speed.py` starts it for one row and writes a line of JSON for each request; each is answered with a line.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from sentence_transformers import (
    SentenceTransformer,
    export_dynamic_quantized_onnx_model,
    export_static_quantized_openvino_model,
)

BATCH = 32
WIDTH = 384
PACKAGES = ("sentence-transformers", "fastembed", "transformers", "optimum", "onnxruntime", "openvino", "nncf")
FILES = {
    "onnx-float32": "onnx/model.onnx",
    "onnx-int8": "onnx/model_qint8_avx512_vnni.onnx",
    "openvino-float32": "openvino/openvino_model.xml",
    "openvino-bfloat16": "openvino/openvino_model.xml",
    "openvino-int8": "openvino/openvino_model_qint8_quantized.xml",
    "fastembed-float32": "onnx/model.onnx",
}
Embed = Callable[[Sequence[str]], object]


def export(row: str, source: str, folder: Path, texts: Sequence[str]) -> None:
    """Write a model into a folder as sentence-transformers' documentation has it; int8 of OpenVINO reads the texts."""
    backend, precision = row.replace("fastembed", "onnx").split("-")
    model = SentenceTransformer(source, backend=backend, device="cpu", model_kwargs={"export": True})
    model.save_pretrained(str(folder))
    if row.startswith("fastembed"):  # which goes by the tokenizer's own limit, 128 tokens
        config = folder / "tokenizer_config.json"
        limits = dict.fromkeys(("max_length", "model_max_length"), model.max_seq_length)
        config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | limits), encoding="utf-8")
    if precision != "int8":
        return
    if backend == "onnx":
        export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(folder))
        return
    with tempfile.TemporaryDirectory() as data:
        lines = [json.dumps({"text": text}) for text in texts]
        Path(data, "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        export_static_quantized_openvino_model(model, None, str(folder), data, "default", "train", "text")


def load(row: str, folder: Path, threads: int) -> Embed:
    """What `export` wrote, to run in so many threads."""
    if row.startswith("fastembed"):
        return of_fastembed(folder, FILES[row], threads)
    backend = row.split("-")[0]
    settings: dict[str, Any] = {"file_name": FILES[row]}
    if backend == "onnx":
        from onnxruntime import SessionOptions  # only here, since the other backend does not need it

        options = SessionOptions()
        options.intra_op_num_threads = threads
        settings |= {"provider": "CPUExecutionProvider", "session_options": options}
    else:
        settings["ov_config"] = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1"}
        if row == "openvino-float32":  # by itself it computes in bfloat16 where the processor has it
            settings["ov_config"]["INFERENCE_PRECISION_HINT"] = "f32"
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), backend=backend, device="cpu", model_kwargs=settings)
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def of_fastembed(folder: Path, file: str, threads: int) -> Embed:
    """The embedding of fastembed over a file from disk; nothing is fetched."""
    name = f"from disk, {threads} threads"
    source = ModelSource(hf=name)  # has to be given, and is not asked where there is a path
    TextEmbedding.add_custom_model(
        model=name, pooling=PoolingType.MEAN, normalization=True, sources=source, dim=WIDTH, model_file=file
    )
    model = TextEmbedding(model_name=name, specific_model_path=str(folder), threads=threads)
    return lambda texts: list(model.embed(list(texts), batch_size=BATCH))


def answer(embed: Embed, request: dict[str, Any]) -> dict[str, float]:
    """Seconds of the processor and of the clock for embedding the texts of a request."""
    parts = [[text] for text in request["texts"]] if request["one_by_one"] else [request["texts"]]
    processor, clock = time.process_time(), time.perf_counter()
    for part in parts:
        embed(part)
    return {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}


def main() -> None:
    """Serve one row: its name, the model's folder and a folder for exports are given."""
    row, source, exports = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print must not come between the answers
    print(json.dumps({name: version(name) for name in PACKAGES}), file=answers, flush=True)
    models: dict[int, Embed] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if not (exports / row).exists():
            export(row, source, exports / row, request["calibration"])
        threads = request["threads"]
        if threads not in models:
            models[threads] = load(row, exports / row, threads)
        print(json.dumps(answer(models[threads], request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
