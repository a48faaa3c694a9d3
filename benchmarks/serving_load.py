"""A server under load: are all answers right, and does its memory stay as it is?

    python benchmarks/serving_load.py --seconds 1200 --output benchmarks/results/serving_load.json

64 clients ask for embeddings of one to eight texts at a time, as queries and as documents, under three contexts, of
which one is replaced every ten seconds. Each answer is compared with the library's own under the context that it
names. Some clients go before their answer. The server is a process of its own; its memory is looked at every second.
Times are wall times on a machine that has other work too, so they are no measure of speed.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.context.generic import generic_texts

CLIENTS, TEXTS, TOLERANCE = 64, 48, 1e-4
REPLACED_EVERY, WARM_UP = 10, 30  # seconds
ROLES = ("query", "document")
Expected = dict[tuple[str, str], np.ndarray]


class Clients:
    """Ask until the time is over, and count what comes back."""

    def __init__(self, url: str, texts: list[str], expected: Expected, until: float) -> None:
        self._url, self._texts, self._expected, self._until = url, texts, expected, until
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._lock = threading.Lock()

    def run(self, number: int) -> None:
        """Be one client."""
        random = np.random.default_rng(number)
        with httpx.Client(base_url=self._url, timeout=120) as http:
            while time.monotonic() < self._until:
                began = time.monotonic()
                outcome = self._ask(http, random)
                with self._lock:
                    self.counts[outcome] += 1
                    self.seconds.append(time.monotonic() - began)

    def _ask(self, http: httpx.Client, random: np.random.Generator) -> str:
        alias, role = random.choice(["one", "two", "replaced"]), random.choice(ROLES)
        chosen = random.choice(TEXTS, size=random.integers(1, 9), replace=False)
        request = {
            "model": f"{alias}:{role}",
            "input": [self._texts[i] for i in chosen],
            "encoding_format": str(random.choice(["float", "base64"])),
        }
        goes = random.random() < 0.02
        try:
            answer = http.post("/embeddings", json=request, timeout=0.05 if goes else 120)
        except httpx.TimeoutException:
            return "went before the answer" if goes else "no answer"
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        rows = [item["embedding"] for item in answer.json()["data"]]
        if request["encoding_format"] == "base64":
            rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
        right = self._expected[answer.headers["x-cde-context"], role][chosen]
        return "right" if np.abs(np.array(rows) - right).max() < TOLERANCE else "wrong"


def replace_again_and_again(versions: list[CorpusContext], path: Path, stop: threading.Event) -> None:
    """Save one version after another."""
    number = 0
    while not stop.wait(REPLACED_EVERY):
        number += 1
        versions[number % len(versions)].save(path)


def watch(process: psutil.Process, megabytes: list[float], stop: threading.Event) -> None:
    """Note the resident memory every second."""
    while not stop.wait(1):
        megabytes.append(process.memory_info().rss / 2**20)


def measure(seconds: int) -> dict[str, Any]:
    """Run the server under load, and return what was found."""
    encoder = ContextualEncoder.from_pretrained("minilm", device="cpu", dtype="float32")
    texts = list(generic_texts())
    pool = [text[:60] for text in texts[:TEXTS]]
    fitted = [encoder.fit_context(texts[start : start + 128], size=64) for start in (0, 128, 256, 384)]
    expected = {
        (context.fingerprint, role): encode(pool, context)
        for context in fitted
        for role, encode in zip(ROLES, (encoder.encode_queries, encoder.encode_documents), strict=True)
    }
    stop, megabytes = threading.Event(), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        for alias, context in zip(("one", "two", "replaced"), fitted, strict=False):
            context.save(Path(folder) / alias)
        command = [sys.executable, "-m", "cde_retrievers.cli", "serve", "--contexts", folder, "--port", "0", "--json"]
        command += ["--device", "cpu", "--dtype", "float32"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            clients = Clients(url, pool, expected, time.monotonic() + seconds)
            beside = [
                threading.Thread(target=replace_again_and_again, args=(fitted[2:], Path(folder) / "replaced", stop)),
                threading.Thread(target=watch, args=(psutil.Process(server.pid), megabytes, stop)),
            ]
            for thread in beside:
                thread.start()
            with ThreadPoolExecutor(CLIENTS) as executor:
                list(executor.map(clients.run, range(CLIENTS)))
            page = httpx.get(url.removesuffix("/v1") + "/metrics").text
            stop.set()
            for thread in beside:
                thread.join()
            server.terminate()
    return {
        "clients": CLIENTS,
        "seconds": seconds,
        "outcomes": dict(clients.counts),
        "seconds_of_a_request": {f"p{q}": float(np.percentile(clients.seconds, q)) for q in (50, 95, 100)},
        "memory_mb": memory(megabytes),
        "metrics": [line for line in page.splitlines() if line.startswith(("cde_requests_total", "cde_waiting"))],
    }


def memory(megabytes: list[float]) -> dict[str, float]:
    """Return the median of each fifth of the time after the warm-up."""
    fifths = np.array_split(np.array(megabytes[WARM_UP:] or megabytes), 5)
    return {f"fifth_{number}": float(np.median(part)) for number, part in enumerate(fifths, 1) if len(part)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    result = measure(options.seconds)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
