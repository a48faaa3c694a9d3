"""What embedding costs, as a share of what sentence-transformers takes for the same texts with the same weights.

    python benchmarks/speed.py --output benchmarks/results/speed.json
    python benchmarks/speed.py --rows onnx-int8 openvino-int8 --lengths 64 --threads 1 --output <file>
    python benchmarks/speed.py --table benchmarks/results/speed.json

All rows embed all-MiniLM-L6-v2's texts on a CPU, and every row but the plain ones under a context. They run in turn,
each in a process of its own, after one run that is not counted, and a share is that of the medians. With one thread it
is of processor time, which other work on the machine disturbs little; with more it is of the clock's, since idle
threads may spin. Memory is the most that a process (Linux) held while it loaded a model and embedded texts of about 64
tokens in one thread, over what it held with this script imported. Rows in bfloat16 are left out, and named, where the
processor lacks it.

The peer is sentence-transformers as it comes: torch, float32, batches of 32. Its ONNX and OpenVINO backends, and
fastembed with the same ONNX file, run in an environment of their own, if --peers names its interpreter; without memory.
`speed_peers.py` says how to make it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from processor import has_native_bf16, machine
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from cde_retrievers import ContextualEncoder
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.backends.runtimes import RUNTIMES
from cde_retrievers.errors import DeviceError
from cde_retrievers.model.pretrained import minilm_folder

PEER, PEER_BF16 = "sentence-transformers", "sentence-transformers-bfloat16"
ROWS = {
    PEER: "sentence-transformers, float32",
    PEER_BF16: "sentence-transformers, bfloat16",
    "transformers": "transformers, float32, padded as they come",
    "plain": "ours, torch float32, without a context",
    "torch-float32": "ours, torch float32",
    "torch-bfloat16": "ours, torch bfloat16",
    "onnx-float32": "ours, ONNX Runtime float32",
    "onnx-int8": "ours, ONNX Runtime int8",
    "openvino-float32": "ours, OpenVINO float32",
    "openvino-bfloat16": "ours, OpenVINO bfloat16",
    "openvino-int8": "ours, OpenVINO int8",
    "peer:onnx-float32": "sentence-transformers, ONNX Runtime float32",
    "peer:onnx-int8": "sentence-transformers, ONNX Runtime int8",
    "peer:openvino-float32": "sentence-transformers, OpenVINO float32",
    "peer:openvino-bfloat16": "sentence-transformers, OpenVINO bfloat16",
    "peer:openvino-int8": "sentence-transformers, OpenVINO int8",
    "peer:fastembed-float32": "fastembed, ONNX Runtime float32",
}
LENGTHS = ("16", "64", "128", "256", "mixed", "query")
SIZE, BATCH, RUNS, THREADS = 2_048, 32, 3, (1, 2)
# Padded tokens of one text of the mixed ones, and of one query with all that it costs beside them.
MIXED, QUERY = 64, 128
CALIBRATION = 300  # texts that int8 is calibrated on, as in the library
PEERS = "peer:"
BACKENDS = ("torch", *RUNTIMES)
Embed = Callable[[Sequence[str]], object]


class Subject:
    """A row of the table, in a process of its own, so that no row works in the memory that another has left."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.packages: dict[str, str] | None = self._read()  # None: the processor has no such arithmetic

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def seconds(self, texts: Sequence[str], one_by_one: bool, threads: int) -> float:
        """What the texts take: of the processor in one thread, of the clock in more."""
        calibration = list(generic_texts()[:CALIBRATION])
        request = {"texts": list(texts), "one_by_one": one_by_one, "threads": threads, "calibration": calibration}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._read()["processor" if threads == 1 else "clock"])


def texts_of(length: str, encoder: ContextualEncoder, size: int) -> list[str]:
    """Texts of that many tokens, `size` in all; about as many mixed ones as they come; or short queries."""
    pool = generic_texts()
    if length == "mixed":
        return list(pool[: max(2, size // MIXED)])
    if length == "query":
        return [" ".join(text.split()[:8]) for text in pool[: max(1, size // QUERY)]]
    tokenizer, count = encoder.tokenizer.backend_tokenizer, int(length)
    words = " ".join(pool).split()
    texts = []
    for start in range(max(1, size // count)):
        begun = words[start * 31 : start * 31 + count]
        rows = tokenizer.encode_batch_fast([" ".join(begun[:end]) for end in range(1, len(begun) + 1)])
        fitting = [end for end, row in enumerate(rows, 1) if len(row.ids) <= count and not row.overflowing]
        texts.append(" ".join(begun[: fitting[-1]]))
    return texts


def ours(name: str) -> Embed | None:
    """The built-in model as that row says; None where the processor has no such arithmetic."""
    if name == "plain":
        encoder = ContextualEncoder.from_pretrained("minilm", device="cpu", dtype="float32")
        return lambda texts: encoder.biencoder_vectors(texts, "")
    backend, precision = name.split("-")
    if name == "torch-bfloat16" and not has_native_bf16():
        return None
    try:
        encoder = ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
    except DeviceError:
        return None
    context = encoder.fit_context(generic_texts()[:64])
    return lambda texts: encoder.encode_documents(texts, context)


def peer() -> Embed:
    """sentence-transformers as it comes, in float32 on the CPU."""
    model = SentenceTransformer(str(minilm_folder()), device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def peer_bf16() -> Embed | None:
    """The same in bfloat16; None where the processor has no such arithmetic."""
    if not has_native_bf16():
        return None
    model = SentenceTransformer(str(minilm_folder()), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def transformers() -> Embed:
    """The loop that model cards show."""
    folder = minilm_folder()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> object:
        found = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                list(texts[start : start + BATCH]), padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            mask = batch["attention_mask"].unsqueeze(-1)
            pooled = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            found.append(torch.nn.functional.normalize(pooled, dim=-1))
        return torch.cat(found).numpy()

    return embed


def way_of(name: str) -> Embed | None:
    """A row of the table in this process; None where the processor has no such arithmetic."""
    others: dict[str, Callable[[], Embed | None]] = {PEER: peer, PEER_BF16: peer_bf16, "transformers": transformers}
    return others[name]() if name in others else ours(name)


def subjects_of(names: Sequence[str], peers: Path | None, exports: str) -> dict[str, Subject]:
    """The peer and these rows, without those that this processor cannot compute, or that have no environment."""
    script = Path(__file__)
    found: dict[str, Subject] = {}
    for name in dict.fromkeys((PEER, *names)):
        if not name.startswith(PEERS):
            found[name] = Subject([sys.executable, script, "--serve", name])
        elif peers is not None and ("bfloat16" not in name or has_native_bf16()):
            row = name.removeprefix(PEERS)
            found[name] = Subject([peers, script.with_name("speed_peers.py"), row, minilm_folder(), exports])
    return {name: subject for name, subject in found.items() if subject.packages is not None}


def serve(name: str) -> None:
    """Answer as `speed_peers.py` does, for a row in this environment."""
    answers, sys.stdout = sys.stdout, sys.stderr
    embed = way_of(name)
    print(json.dumps(None if embed is None else {}), file=answers, flush=True)
    for line in sys.stdin if embed is not None else ():
        request = json.loads(line)
        torch.set_num_threads(request["threads"])
        parts = [[text] for text in request["texts"]] if request["one_by_one"] else [request["texts"]]
        processor, clock = time.process_time(), time.perf_counter()
        for part in parts:
            embed(part)
        taken = {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}
        print(json.dumps(taken), file=answers, flush=True)


def shares(
    subjects: Mapping[str, Subject], texts: Sequence[str], one_by_one: bool, threads: int, runs: int
) -> dict[str, float]:
    """What every subject takes, as a share of what the peer takes."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for run in range(runs + 1):
        for name, subject in subjects.items():
            taken = subject.seconds(texts, one_by_one, threads)
            if run > 0:
                seconds[name].append(taken)
    whole = statistics.median(seconds[PEER])
    return {name: round(statistics.median(taken) / whole, 3) for name, taken in seconds.items()}


def cosines(subjects: Sequence[str]) -> dict[str, float]:
    """The mean cosine of each row's plain vectors of generic texts with those of torch in float32."""
    texts = generic_texts()[-BATCH:]

    def unit(backend: str, precision: str) -> np.ndarray:
        encoder = ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=precision)
        rows = encoder.first_stage_vectors(texts)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    exact = unit("torch", "float32")
    ours = [name for name in subjects if name.startswith(tuple(f"{backend}-" for backend in BACKENDS))]
    return {name: round(float((unit(*name.split("-")) * exact).sum(axis=1).mean()), 5) for name in ours}


def memory_here(name: str, size: int) -> float:
    """The most that this process held while it loaded that row and embedded, in MB, over what it held before."""
    torch.set_num_threads(1)
    # Cut by words: a model that is loaded for its tokenizer would leave memory behind for the next.
    texts = [" ".join(text.split()[:45]) for text in generic_texts()[: max(1, size // MIXED)]]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here
    before = _peak_mb()
    embed = way_of(name)
    assert embed is not None
    embed(texts)
    return _peak_mb() - before


def _peak_mb() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def memory(names: Sequence[str], size: int) -> dict[str, int]:
    """What each row holds in a process of its own, in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = {}
    for name in names:
        command = [sys.executable, __file__, "--memory-of", name, "--size", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        found[name] = round(float(done.stdout.splitlines()[-1]))
    return found


def here() -> dict[str, Any]:
    """What the figures depend on."""
    packages = {"torch", "transformers", "sentence-transformers", "numpy"}
    packages |= {module for runtime in RUNTIMES.values() for module in (*runtime.runs, *runtime.writes)}
    flags = [name for name, found in torch.cpu.get_capabilities().items() if found is True]
    return {**machine(packages), "capabilities": sorted(flags)}


def table(result: dict[str, Any]) -> str:
    """One row for each way to embed, one column for each length of the texts."""
    lines, held = [], result.get("memory_mb", {})
    for threads, columns in result["shares"].items():
        lengths = list(columns)
        names = {"query": "one query", "mixed": "mixed"}
        heads = [names.get(length, f"{length} tokens") for length in lengths] + [
            "cosine",
            *(["memory"] if held else []),
        ]
        lines += ["", f"| {threads} thread{'' if threads == '1' else 's'} | {' | '.join(heads)} |"]
        lines.append("|---" * (len(heads) + 1) + "|")
        for name, label in ROWS.items():
            if name in columns[lengths[0]]:
                cells = [f"{columns[length][name]:.2f}" for length in lengths]
                cosine = result["cosines"].get(name)
                cells.append("" if cosine is None else f"{cosine:.4f}")
                cells += [f"{held[name]} MB" if name in held else ""] if held else []
                lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines).strip()


def measure(arguments: argparse.Namespace, exports: str) -> dict[str, Any]:
    """All that was asked for; exports of sentence-transformers go into the folder."""
    subjects = subjects_of(arguments.rows, arguments.peers, exports)
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu")
    texts = {length: texts_of(length, encoder, arguments.size) for length in arguments.lengths}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for threads in dict.fromkeys(arguments.threads):
        found[str(threads)] = {
            length: shares(subjects, given, length == "query", threads, arguments.runs)
            for length, given in texts.items()
        }
    own = [name for name in subjects if not name.startswith(PEERS)]
    return {
        "machine": here(),
        "peers": next((subject.packages for name, subject in subjects.items() if name.startswith(PEERS)), None),
        "size": arguments.size,
        "runs": arguments.runs,
        "left_out": [name for name in arguments.rows if name not in subjects],
        "shares": found,
        "cosines": cosines(own),
        "memory_mb": memory(own, arguments.size),
    }


def main() -> None:
    """Measure, and write one JSON file; or print the table of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=LENGTHS)
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS)
    parser.add_argument("--size", type=int, default=SIZE, help="padded tokens of all texts of one length")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--peers", type=Path, help="interpreter of an environment for speed_peers.py")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path, help="print this result as Markdown")
    parser.add_argument("--serve", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", choices=ROWS, help="memory of one row in this process, printed in MB")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    elif arguments.memory_of:
        print(memory_here(arguments.memory_of, arguments.size))
    elif arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
    elif arguments.output:
        with tempfile.TemporaryDirectory() as exports:
            result = measure(arguments, exports)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(table(result))
    else:
        parser.error("give --output; or --table alone")


if __name__ == "__main__":
    main()
