"""`ContextualIndex` beside a twin on Lance: the same documents, vectors and filters, and what each change costs.

The twin keeps documents, vectors and metadata in one Lance dataset and searches it exactly, as an index of kind "flat"
does. Vectors are drawn at random. A search is of one query, embedded before; the two take turns. "Synced" counts the
calls of `fsync` and `fdatasync` while one document is added, in a process of its own under `strace`: without one, a
document that was added can be lost when the power fails.

pip install pylance
python benchmarks/lance_twin.py --output <file>
python benchmarks/lance_twin.py --table <file>
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from filtered_search import WIDTH, Documents, Drawn, metadata_of

from cde_retrievers.index import ContextualIndex, Document

SIZES = (10_000, 100_000, 1_000_000)
K, TIMES, BATCH = 10, 15, 10_000
FILTERS = {"one year of 35": ({"year": 2001}, "year = 2001"), "most years": ({"year": {"$gte": 2000}}, "year >= 2000")}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("year", pa.int64()),
        ("topic", pa.string()),
        ("score", pa.float64()),
        ("url", pa.string()),
        ("vector", pa.list_(pa.float32(), WIDTH)),
    ]
)


def batch_of(documents: list[Document], drawn: Any) -> pa.RecordBatch:
    """Documents and their vectors as Lance takes them."""
    vectors = drawn.encode_documents([document.text for document in documents])
    rows = [{"id": document.id, "text": document.text, **document.metadata} for document in documents]
    columns = [pa.array([row[name] for row in rows], SCHEMA.field(name).type) for name in SCHEMA.names[:-1]]
    return pa.RecordBatch.from_arrays(
        [*columns, pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH)], schema=SCHEMA
    )


def batches(documents: Documents) -> Iterator[pa.RecordBatch]:
    """All documents, some at a time."""
    drawn, remaining = Drawn(), iter(documents)
    while chosen := list(islice(remaining, BATCH)):
        yield batch_of(chosen, drawn)


def another(place: int) -> Document:
    """A document to add."""
    return Document(f"another text {place}", f"another-{place}", metadata_of(place))


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bytes_of(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_turns(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median time of each in milliseconds."""
    for work in works.values():
        work()
    times = [{name: seconds(work) for name, work in works.items()} for _ in range(TIMES)]
    return {name: round(1_000 * median(turn[name] for turn in times), 2) for name in works}


def measure(folder: Path, rows: int) -> dict[str, dict[str, float]]:
    """Build both, and time what is done with them, in milliseconds except where it says otherwise."""
    import lance  # here, so that a result can be shown without it

    embedder: Any = Drawn()
    ours, theirs, documents = folder / "ours", folder / "lance", Documents(rows)
    reader = pa.RecordBatchReader.from_batches(SCHEMA, batches(documents))
    result = {
        "build, s": {
            "ours": round(seconds(lambda: ContextualIndex.build(documents, embedder, ours, show_progress=False)), 2),
            "lance": round(seconds(lambda: lance.write_dataset(reader, theirs)), 2),
        },
        "on disk, MB": {"ours": bytes_of(ours) // 1_000_000, "lance": bytes_of(theirs) // 1_000_000},
        "open": in_turns(
            {"ours": lambda: ContextualIndex.open(ours, embedder), "lance": lambda: lance.dataset(theirs)}
        ),
    }
    index, dataset = ContextualIndex.open(ours, embedder), lance.dataset(theirs)
    query, fingerprint = embedder.encode_queries(["a query"]), index.context.fingerprint
    nearest = {"column": "vector", "q": query[0], "k": K, "metric": "dot", "use_index": False}

    def found(query_filter: dict[str, Any] | None, condition: str | None) -> dict[str, Callable[[], Any]]:
        return {
            "ours": lambda: index.search_embedded(query, fingerprint, K, filter=query_filter),
            "lance": lambda: dataset.to_table(nearest=nearest, filter=condition, prefilter=True),
        }

    result["search"] = in_turns(found(None, None))
    for name, both in FILTERS.items():
        result[f"search, {name}"] = in_turns(found(*both))
    added = iter(range(rows, 2 * rows))
    result["add one"] = in_turns(
        {
            "ours": lambda: index.add([another(next(added))], show_progress=False),
            "lance": lambda: dataset.insert(pa.Table.from_batches([batch_of([another(next(added))], embedder)])),
        }
    )
    return result


def add_one(engine: str, folder: Path) -> None:
    """Open an index and add a document, for `synced`."""
    import lance

    embedder: Any = Drawn()
    if engine == "ours":
        ContextualIndex.open(folder / engine, embedder).add([another(0)], show_progress=False)
    else:
        lance.dataset(folder / engine).insert(pa.Table.from_batches([batch_of([another(0)], embedder)]))


def synced(folder: Path) -> dict[str, float]:
    """How often each asks the device to keep what was written while a document is added."""
    counts = {}
    for engine in ("ours", "lance"):
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(folder / "calls")]
        subprocess.run([*command, sys.executable, __file__, "--add-one", engine, str(folder)], check=True)
        counts[engine] = float((folder / "calls").read_text(encoding="utf-8").count("sync("))
    return counts


def table(result: dict[str, Any]) -> str:
    """One row per size and task."""
    lines = ["| documents | | ours | Lance | Lance / ours |", "|---|---|---|---|---|"]
    for rows, tasks in result["sizes"].items():
        for task, both in tasks.items():
            name = task if "," in task and task.split(", ")[-1] in ("s", "MB") else f"{task}, ms"
            ratio = both["lance"] / both["ours"]
            lines.append(f"| {int(rows):,} | {name} | {both['ours']:g} | {both['lance']:g} | {ratio:.2f} |")
    calls = result["synced"]
    return "\n".join([*lines, f"| | calls that sync, add one | {calls['ours']:g} | {calls['lance']:g} | |"])


def main() -> None:
    """Measure, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--add-one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    if arguments.add_one is not None:
        add_one(arguments.add_one[0], Path(arguments.add_one[1]))
        return
    result: dict[str, Any] = {
        "packages": {name: version(name) for name in ("pylance", "pyarrow", "numpy")},
        "sizes": {},
    }
    for rows in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            result["sizes"][str(rows)] = measure(Path(folder), rows)
            if rows == min(arguments.sizes):
                result["synced"] = synced(Path(folder))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
