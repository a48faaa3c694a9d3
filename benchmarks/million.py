"""An index of a million documents: ours, of each kind, beside faiss, usearch and LanceDB on the same vectors.

A row per engine: it is built in a process of its own, then opened and searched in another, one query at a time in one
thread, without an encoder. Memory is private memory, which no file backs (Linux): the most while building, and after
the searches. Ours and LanceDB hold the documents and their metadata on disk, and find which rows pass a filter; faiss
is told which, usearch has no filters, and both hold vectors alone, in memory. Filters leave about so many documents in
a hundred, independent of the clusters. "Add one" is synced to the device by ours only.

Rows are written as they are done. With the same --work and --output the next call does those that are missing, and
those named by --rows again; a row whose package is absent is named as left out.

pip install usearch lancedb
python benchmarks/million.py --size 1000000 --work <folder> --output <file>
python benchmarks/million.py --table <file>
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import faiss
import numpy as np
from filtered_search import private_memory
from million_data import FILTERS, Data, K
from million_engines import ENGINES, RECALL, Ours

ADDED = 5


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def most_memory(work: Callable[[], Any]) -> int:
    """The most private memory while it works, in megabytes, looked at ten times a second."""
    most, done = [private_memory()], Event()

    def watch() -> None:
        while not done.wait(0.1):
            most.append(private_memory())

    watching = Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        done.set()
        watching.join()
    return max(most)


def built(name: str, data: Data, folder: Path) -> dict[str, Any]:
    """Build an engine, in this process."""
    engine = ENGINES[name][1](data, folder)
    taken: list[float] = []
    memory = most_memory(lambda: taken.append(seconds(engine.build)))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"build_s": round(taken[0], 1), "build_mb": memory, "disk_mb": size // 1_000_000}


def searched(name: str, data: Data, folder: Path) -> dict[str, Any]:
    """Open an engine and search it, in this process."""
    engine = ENGINES[name][1](data, folder)
    found: dict[str, Any] = {"open_s": round(seconds(engine.open), 3), "effort": engine.tune(), "search": {}}
    for allowed in FILTERS:
        if engine.search(data.queries[0], allowed) is None:
            continue
        times, shares = [], []
        for query, exact in zip(data.queries, data.truth[allowed], strict=True):
            start = time.perf_counter()
            rows = engine.search(query, allowed) or []
            times.append(time.perf_counter() - start)
            shares.append(len({*rows} & {*exact.tolist()}) / K)
        found["search"][allowed] = {
            "p50_ms": round(1e3 * median(times), 2),
            "p95_ms": round(1e3 * float(np.quantile(times, 0.95)), 2),
            "recall": round(float(np.mean(shares)), 4),
        }
        print(f"{name}, {allowed}: {found['search'][allowed]}", file=sys.stderr, flush=True)
    if isinstance(engine, Ours):
        asked = [(query, data.query_text(number)) for number, query in enumerate(data.queries)]
        engine.search(asked[0][0], "none", asked[0][1])
        times = [seconds(lambda: engine.search(query, "none", text)) for query, text in asked]  # noqa: B023
        found["hybrid_ms"] = round(1e3 * median(times), 2)
    found["memory_mb"] = private_memory()
    times = [seconds(lambda: engine.add(data.new[row], data.size + row)) for row in range(ADDED)]  # noqa: B023
    found["add_ms"] = round(1e3 * median(times), 2)
    return found


def in_new_process(step: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a step of a row returns."""
    command = [sys.executable, __file__, "--step", step, "--rows", name, "--size", str(options.size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LANCE_CPU_THREADS": "1"}
    done = subprocess.run(
        [*command, "--work", str(options.work)], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row; why it is left out, if it is."""
    if find_spec(ENGINES[name][0]) is None:
        return {"left_out": f"{ENGINES[name][0]} is not installed"}
    folder = options.work / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before = os.getloadavg()[0]
    try:
        row = {step: in_new_process(step, name, options) for step in ("build", "search")}
    except subprocess.CalledProcessError as error:
        return {"left_out": f"it failed with {error.returncode}"}
    finally:
        shutil.rmtree(folder)
    return {**row["build"], **row["search"], "load": [round(before, 1), round(os.getloadavg()[0], 1)]}


def table(result: dict[str, Any]) -> str:
    """One row per engine, and what was left out."""
    named = ["no filter" if name == "none" else f"{name} pass" for name in FILTERS]
    heads = ["", "build, s", "most MB", "open, s", "MB", *named, "hybrid", "add one"]
    lines = [f"| {' | '.join(heads)} |".replace("|  |", "| |", 1), "|---" * len(heads) + "|"]
    for name, row in result["rows"].items():
        if "left_out" in row:
            continue
        cells = [name, f"{row['build_s']:.0f}", f"{row['build_mb']:,}", f"{row['open_s']:.2f}", f"{row['memory_mb']:,}"]
        found = [row["search"].get(allowed) for allowed in FILTERS]
        cells += ["" if one is None else f"{one['p50_ms']:.1f} ({one['recall']:.2f})" for one in found]
        cells += [f"{row['hybrid_ms']:.1f}" if "hybrid_ms" in row else "", f"{row['add_ms']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    absent = [f"{name} ({row['left_out']})" for name, row in result["rows"].items() if "left_out" in row]
    return "\n".join([*lines, *([f"Left out: {', '.join(absent)}."] if absent else [])])


def settings(size: int) -> dict[str, Any]:
    """What the rows have in common."""
    packages = ("numpy", "faiss-cpu", "usearch", "lancedb")
    known = {name: version(name) for name in packages if find_spec(name.split("-")[0]) is not None}
    return {
        "size": size,
        "recall": RECALL,
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "packages": known,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is missing or named, and write after each row."""
    options.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"settings": settings(options.size), "rows": {}}
    if options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if before["settings"]["size"] != options.size:
            raise SystemExit(f"{options.output} is of {before['settings']['size']} documents; give another --output")
        result["rows"] = before["rows"]
    data = Data(options.work, options.size)
    print(f"{options.size:,} vectors and their exact neighbours", file=sys.stderr, flush=True)
    assert len(data.vectors) == options.size
    assert data.truth
    missing = [name for name in ENGINES if "build_s" not in result["rows"].get(name, {})]
    for name in options.rows or missing:
        print(name, file=sys.stderr, flush=True)
        done = {**result["rows"], name: measured(name, options)}
        result["rows"] = {each: done[each] for each in ENGINES if each in done}
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(result["rows"][name]), file=sys.stderr, flush=True)
    return result


def main() -> None:
    """Measure, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="folder for vectors and indexes; 3 GB for a million")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rows", nargs="+", choices=list(ENGINES), help="do these, also if they are there")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table is not None:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    if options.work is None or (options.output is None and options.step is None):
        parser.error("give --work and --output")
    if options.step is None:
        print(table(run(options)))
        return
    faiss.omp_set_num_threads(1)
    (name,) = options.rows
    step = built if options.step == "build" else searched
    print(json.dumps(step(name, Data(options.work, options.size), options.work / name.replace(" ", "-"))))


if __name__ == "__main__":
    main()
