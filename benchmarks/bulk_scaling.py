"""Embedding in bulk: what it survives, its rates, a worker's memory, and the costs of a row.

    python benchmarks/bulk_scaling.py --data <folder of BEIR sets> --output benchmarks/results/bulk_scaling.json

Kills: the texts are embedded on Ray with two workers while, at random moments, a worker or now and then the driver is
killed by SIGKILL; a driver that was killed or gave up is started again until the plan is done. One process embeds the
same texts by itself: the vectors are compared, and the ids counted. Here the model is a small random one, and texts are
cut at their first words, since the machine matters more than the model. Its memory (Linux) is read after every shard.

With `--small-disk`, a directory on a small file system, shards are written there until it is full, then moved, and the
run is continued.

Memory: the private memory of a Ray worker (Linux) is read while it embeds the same texts, again with the small model.

Rates: the built-in model with one and with two workers in turn, by the time spent embedding and writing; starting is
left out.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beir import load_documents

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.bulk import Plan, Worker, collect, plan, run_ray
from cde_retrievers.bulk.paths import shard_file
from cde_retrievers.bulk.shard_file import read_shard
from cde_retrievers.errors import WriteError
from cde_retrievers.index import ContextualIndex

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from tiny import build_tokenizer, tiny_bert, write_biencoder

WORKERS, WORDS, SEED = 2, 12, 0
DRIVER_SHARE = 0.2  # of the kills
PAUSE = 12.0  # seconds between kills, at most; before every third there is also a shard to wait for
WORKER_PROCESS = b"ray::RayWorker"
# What is killed: exit code 0 if the plan is done.
DRIVER = """
import sys
from cde_retrievers.bulk import run_ray
from cde_retrievers.errors import ShardError
try:
    run_ray(sys.argv[1], int(sys.argv[2]), show_progress=False).raise_if_failed()
except ShardError as error:
    sys.exit(str(error))
"""


def texts_of(data: Path, rows: int) -> list[str]:
    """The first words of the first documents of all sets, in the order of their names."""
    every = chain.from_iterable(load_documents(folder) for folder in sorted(data.iterdir()) if folder.is_dir())
    cut = (" ".join(text.split()[:WORDS]) for text in every)
    return list(islice((text for text in cut if text), rows))


def children_of(process: int) -> dict[int, bytes]:
    """Command lines of all descendants, by process id (Linux)."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status, command = (entry / "status").read_text(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(status.split("PPid:")[1].split()[0])
            commands[int(entry.name)] = command
    found = {process}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return {child: commands[child] for child in found - {process}}


def wait_until_gone(processes: set[int], seconds: float = 30) -> set[int]:
    """Wait for processes to end, then kill those that remain, and return them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(Path(f"/proc/{process}").exists() for process in processes):
        time.sleep(0.2)
    remaining = {process for process in processes if Path(f"/proc/{process}").exists()}
    for process in remaining:
        os.kill(process, signal.SIGKILL)
    return remaining


def kill_until_done(made: Plan, kills: int) -> dict[str, Any]:
    """Run the plan on Ray, and kill again and again after a random pause, until it is done."""
    chance, done = random.Random(SEED), {"driver": 0, "worker": 0}
    starts, left_behind, begun = 0, 0, time.monotonic()
    while True:
        starts += 1
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(made.directory), str(WORKERS)])
        while (killed := sum(done.values())) < kills and driver.poll() is None:
            if killed % 3 == 0:
                wait_for_a_shard(made, driver)
            time.sleep(chance.uniform(0, PAUSE))
            family = children_of(driver.pid)
            workers = [process for process, command in family.items() if command.startswith(WORKER_PROCESS)]
            if chance.random() < DRIVER_SHARE and driver.poll() is None:
                driver.kill()
                driver.wait()
                done["driver"] += 1
                left_behind += len(wait_until_gone(set(family)))
                break
            if workers and driver.poll() is None:
                os.kill(chance.choice(workers), signal.SIGKILL)
                done["worker"] += 1
        if driver.wait() == 0:
            seconds = time.monotonic() - begun
            return {"kills": done, "driver_starts": starts, "left_behind": left_behind, "seconds": round(seconds)}


def wait_for_a_shard(made: Plan, driver: "subprocess.Popen[bytes]") -> None:
    """Wait until there is one shard more, or the driver ends."""
    before = len(shards_of(made))
    while driver.poll() is None and len(shards_of(made)) == before:
        time.sleep(0.05)


def shards_of(made: Plan) -> list[Path]:
    """The shards that are embedded so far."""
    return list((made.directory / "shards").glob("*.parquet"))


def memory_in_mebibytes() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def one_process(directory: str) -> dict[str, Any]:
    """Embed a whole plan in this process, and note its memory after every shard."""
    torch.set_num_threads(1)
    worker, memory, seconds = Worker(directory), [], 0.0
    for number in range(len(worker.plan.shards)):
        seconds += worker.embed(number).seconds
        memory.append(round(memory_in_mebibytes(), 1))
    quarter = len(memory) // 4
    return {
        "shards": len(memory),
        "rows_per_second": round(worker.plan.rows / seconds, 1),
        "memory_after_a_quarter_of_the_shards": max(memory[: quarter + 1]),
        "memory_after_all_shards": max(memory),
    }


def in_a_process(task: str, directory: Path) -> Any:
    """The JSON that a task in a process of its own prints."""
    command = [sys.executable, __file__, task, str(directory)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def twin(made: Plan, name: str) -> Plan:
    """The same plan without a shard, in a directory beside it."""
    directory = made.directory.with_name(name)
    shutil.copytree(made.directory, directory, ignore=lambda folder, names: names if folder.endswith("shards") else [])
    return Plan.load(directory)


def difference(first: Plan, second: Plan) -> dict[str, Any]:
    """How far the vectors of two plans are apart, and how often an id comes."""
    largest, ids = 0.0, []
    for number in range(len(first.shards)):
        shards = [read_shard(shard_file(each.directory, number), each.identity(number)) for each in (first, second)]
        largest = max(largest, float(np.abs(shards[0].vectors - shards[1].vectors).max()))
        ids += [document.id for document in shards[0].documents]
    return {"largest_difference": largest, "rows": len(ids), "ids": len(set(ids)), "planned": first.rows}


def fill_disk(made: Plan, small: Path) -> dict[str, Any]:
    """Write shards to a small file system until it is full; free it, and continue."""
    shards = made.directory / "shards"
    shutil.rmtree(shards)
    shards.symlink_to(small)
    message = ""
    try:
        run_ray(made, WORKERS, show_progress=False)
    except WriteError as error:
        message = str(error).replace(str(made.directory), "PLAN").replace(str(small), "SMALL")
    complete = sorted(small.glob("*.parquet"))
    others = sorted(entry.name for entry in small.iterdir() if entry not in complete)
    shards.unlink()
    shards.mkdir()
    for path in complete:
        shutil.move(path, shards / path.name)
    report = run_ray(made, WORKERS, show_progress=False)
    return {
        "message": message,
        "complete_when_full": len(complete),
        "other_files": len(others),
        "kept": report.were_there,
        "embedded_afterwards": report.embedded,
    }


def rates(made: Plan, rounds: int) -> dict[str, Any]:
    """Rows in a second with one and with two workers, in turn."""
    found: dict[int, list[float]] = {1: [], WORKERS: []}
    for _ in range(rounds):
        for workers, rows in found.items():
            shutil.rmtree(made.directory / "shards")
            (made.directory / "shards").mkdir()
            report = run_ray(made, workers, show_progress=False)
            rows.append(round(workers * report.rows / report.seconds, 1))
    best = {workers: max(rows) for workers, rows in found.items()}
    return {
        "rows": made.rows,
        "rows_per_second": {str(workers): rows for workers, rows in found.items()},
        "two_over_one": round(best[WORKERS] / best[1], 2),
    }


def costs(made: Plan, encoder: ContextualEncoder, folder: Path) -> dict[str, float]:
    """Bytes and processor time of a row, beside embedding it."""
    sizes = {
        name: sum(path.stat().st_size for path in (made.directory / name).iterdir()) for name in ("inputs", "shards")
    }
    worker = Worker(made)
    assert worker.has(0)  # and everything that this needs is imported
    begun = time.process_time()
    assert all(worker.has(number) for number in range(len(made.shards)))
    checked = time.process_time() - begun
    index = ContextualIndex.create(encoder, CorpusContext.load(made.directory / "context"), folder / "index")
    begun = time.process_time()
    collect(made, index, show_progress=False)
    collected = time.process_time() - begun
    return {
        "width": made.width,
        "input_bytes": round(sizes["inputs"] / made.rows, 1),
        "shard_bytes": round(sizes["shards"] / made.rows, 1),
        "microseconds_to_check": round(1e6 * checked / made.rows, 1),
        "microseconds_to_collect": round(1e6 * collected / made.rows, 1),
    }


def private_mebibytes(process: int) -> float:
    """Memory of a process that it shares with no other (Linux)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def ray_worker_memory(made: Plan) -> dict[str, Any]:
    """Private memory of the only worker of a run on Ray, in the second and in the last quarter of its shards."""
    readings: list[tuple[float, float]] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.wait(0.1):
            done = len(shards_of(made)) / len(made.shards)
            with suppress(OSError):  # the worker is gone
                workers = [
                    one for one, command in children_of(os.getpid()).items() if command.startswith(WORKER_PROCESS)
                ]
                readings.extend((done, private_mebibytes(worker)) for worker in workers)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        run_ray(made, 1, show_progress=False).raise_if_failed()
    finally:
        ended.set()
        reader.join()
    return {
        "shards": len(made.shards),
        "rows": made.rows,
        "readings": len(readings),
        "most_in_the_second_quarter": round(max(found for done, found in readings if 0.25 <= done < 0.5), 1),
        "most_in_the_last_quarter": round(max(found for done, found in readings if done >= 0.75), 1),
    }


def small_plan(arguments: argparse.Namespace, folder: Path) -> tuple[Plan, float]:
    """A plan of all texts, for the small model, and the seconds of processor time that it took."""
    texts = texts_of(arguments.data, arguments.rows)
    small = write_biencoder(folder / "small", tiny_bert(), build_tokenizer())
    encoder = ContextualEncoder.from_biencoder(small, device="cpu", dtype="float32")
    context = encoder.fit_context(texts, show_progress=False)
    begun = time.process_time()
    made = plan(texts, encoder, context, folder / "plan", arguments.rows // arguments.shards)
    return made, time.process_time() - begun


def survived(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """What one process does, and what becomes of the same plan under kills and on a full disk."""
    made, seconds = small_plan(arguments, folder)
    yield {"words": WORDS, "microseconds_to_plan": round(1e6 * seconds / made.rows, 1)}
    one = twin(made, "one")
    yield {"one_process": in_a_process("--alone", one.directory)}
    yield {"killed": kill_until_done(made, arguments.kills) | difference(made, one)}
    if arguments.small_disk is not None:
        yield {"full_disk": fill_disk(made, arguments.small_disk) | difference(made, one)}


def remembered(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """The memory of a worker on Ray."""
    yield {"ray_worker": ray_worker_memory(small_plan(arguments, folder)[0])}


def rated(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Rates of the built-in model, and the costs of a row of its vectors."""
    texts = texts_of(arguments.data, arguments.rows)
    some = texts[:: max(1, len(texts) // arguments.rated_rows)][: arguments.rated_rows]
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", "float32")
    context = encoder.fit_context(some, show_progress=False)
    made = plan(some, "minilm", context, folder / "rated", arguments.rated_rows // 8, device="cpu", dtype="float32")
    yield {"rates": rates(made, arguments.rounds)}
    yield {"costs": costs(made, encoder, folder)}


PARTS = {"survived": survived, "remembered": remembered, "rated": rated}


def main() -> None:
    """Measure, and write the result after every part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--small-disk", type=Path)
    parser.add_argument("--rated-rows", type=int, default=1_600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(one_process(arguments.alone)))
        return
    result: dict[str, Any] = {}
    if arguments.output.exists():
        result = json.loads(arguments.output.read_text(encoding="utf-8"))
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            for found in PARTS[part](arguments, Path(folder)):
                result |= found
                arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
