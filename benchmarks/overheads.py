"""What two remedies against waste around the forward pass would gain: look-ahead, and settings of the allocator.

    python benchmarks/overheads.py --output benchmarks/results/overheads.json

Both run the built-in model in one torch thread. With look-ahead, one further thread tokenises the next window of texts
while the current one is computed. Windows are embedded with it and without in turn, by the clock, since the gain would
lie in a second core; `share` is how much of the processor time without it goes into tokenising, which bounds the gain.
The allocator of glibc is set by variables of the environment, so each setting embeds in processes of its own, in turn,
by processor time, which counts the page faults that the settings are to avoid. A ratio is the median of those of every
turn: below 1, the remedy gains.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cde_retrievers import ContextualEncoder
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.batching import length_sorted_batches
from cde_retrievers.encoder.device import default_padding_limit, default_token_budget
from cde_retrievers.encoder.tokenizer import TokenIds

ARITHMETIC = {"torch": "float32", "onnx": "int8"}
WINDOWS, WINDOW, WORDS, TURNS = 6, 64, 40, 21
TEXTS, PAIRS = 2_000, 3
# Large blocks stay in the heap, which keeps what is freed, and grows by much at once. 32 MiB is the most glibc takes.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "MALLOC_ARENA_MAX": "1",
}
Windows = Sequence[Sequence[str]]


def tokenised(encoder: ContextualEncoder, windows: Windows) -> Iterator[list[TokenIds]]:
    """One window after the other, each when it is asked for."""
    yield from map(encoder.tokenizer.encode, windows)


def tokenised_ahead(encoder: ContextualEncoder, windows: Windows) -> Iterator[list[TokenIds]]:
    """The same, each in another thread while the one before it is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(encoder.tokenizer.encode, windows[0])
        for following in windows[1:]:
            found = coming.result()
            coming = thread.submit(encoder.tokenizer.encode, following)
            yield found
        yield coming.result()


def embed(encoder: ContextualEncoder, rows_of_windows: Iterator[list[TokenIds]]) -> np.ndarray:
    """Plain vectors, batched as the encoder does."""
    limits = default_token_budget(encoder.device), default_padding_limit(encoder.device)
    # As the encoder does, the exported stage of another backend included.
    stage = encoder._first_stage
    found = []
    for rows in rows_of_windows:
        vectors = np.empty((len(rows), encoder.width), dtype=np.float32)
        for batch in length_sorted_batches([len(row) for row in rows], *limits):
            with torch.inference_mode():
                vectors[batch] = stage.pooled(*encoder.tokenizer.pad([rows[i] for i in batch])).numpy()
        found.append(vectors)
    return np.concatenate(found)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """What one call takes."""
    begun = clock()
    work()
    return clock() - begun


def look_ahead(backend: str, turns: int, windows_count: int) -> dict[str, Any]:
    """The ratio of times with look-ahead and without, and the share of tokenising."""
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", backend=backend, precision=ARITHMETIC[backend])
    pool = [" ".join(text.split()[:WORDS]) for text in generic_texts()]
    windows = [pool[start : start + WINDOW] for start in range(0, windows_count * WINDOW, WINDOW)]
    expected = embed(encoder, tokenised(encoder, windows))
    assert np.array_equal(embed(encoder, tokenised_ahead(encoder, windows)), expected)
    ratios, shares = [], []
    for _ in range(turns):
        plain = seconds(lambda: embed(encoder, tokenised(encoder, windows)), time.perf_counter)
        ratios.append(seconds(lambda: embed(encoder, tokenised_ahead(encoder, windows)), time.perf_counter) / plain)
        tokens = seconds(lambda: list(tokenised(encoder, windows)), time.process_time)
        shares.append(tokens / seconds(lambda: embed(encoder, tokenised(encoder, windows)), time.process_time))
    return {
        "backend": f"{backend}-{ARITHMETIC[backend]}",
        "turns": turns,
        "ratio": round(statistics.median(ratios), 3),
        "quartiles": [round(float(quartile), 3) for quartile in np.quantile(ratios, (0.25, 0.75))],
        "share": round(statistics.median(shares), 4),
    }


def mixed(texts: int) -> list[str]:
    """Generic texts as they come, and their first tenth, half and so on, so that lengths mix."""
    pool, kept = generic_texts(), (1.0, 0.1, 0.5, 0.25)
    turns = [(pool[i % len(pool)], kept[i // len(pool) % 4]) for i in range(texts)]
    return [text[: max(1, int(len(text) * part))] for text, part in turns]


def here(texts: int) -> float:
    """Processor seconds in which this process embeds so many texts of mixed lengths."""
    torch.set_num_threads(1)
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", dtype="float32")
    return seconds(lambda: encoder.first_stage_vectors(mixed(texts)), time.process_time)


def allocator(pairs: int, texts: int) -> dict[str, Any]:
    """The ratio of processor times with the settings and without."""

    def run(**settings: str) -> float:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, __file__, "--here", "--texts", str(texts)]
        done = subprocess.run(command, env={**others, **settings}, capture_output=True, text=True, check=True)
        return float(done.stdout)

    ratios = []
    for _ in range(pairs):
        plain = run()
        ratios.append(run(**ALLOCATOR) / plain)
    return {"settings": ALLOCATOR, "texts": texts, "ratios": [round(ratio, 3) for ratio in ratios],
            "ratio": round(statistics.median(ratios), 3)}  # fmt: skip


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--here", action="store_true", help="processor seconds of one run in this process, printed")
    arguments = parser.parse_args()
    if arguments.here:
        print(here(arguments.texts))
        return
    torch.set_num_threads(1)
    result = {
        "machine": {
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "libc": " ".join(platform.libc_ver()),
            "torch": torch.__version__,
        },
        "look_ahead": [look_ahead(backend, arguments.turns, WINDOWS) for backend in ARITHMETIC],
        "allocator": allocator(arguments.pairs, arguments.texts),
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
