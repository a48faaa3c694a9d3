"""What a filter costs in a large index, beside faiss told which rows to search, and beside SQLite finding these rows.

Vectors are drawn at random, since a filter does not look at them; the metadata are a year, one of 200 topics, a number
and an address that no two documents share. Searches are exact, one query at a time, embedded before. "faiss" is
`IndexFlatIP` on the same vectors with an `IDSelectorBitmap` of the rows that pass, which it is given for nothing;
"SQLite" finds the numbers of these rows in a table with an index on every field, and searches nothing. The three take
turns.

python benchmarks/filtered_search.py --rows 1000000 --output <file>
python benchmarks/filtered_search.py --table <file>
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cde_retrievers import CorpusContext
from cde_retrievers.context.fitting import fit_context_of
from cde_retrievers.index import ContextualIndex, Document

WIDTH, K, TIMES, BATCH = 384, 10, 15, 10_000
FIELDS = ("year", "topic", "score", "url")
FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "a year": ({"year": 2001}, "year = 2001"),
    "a topic": ({"topic": "topic 7"}, "topic = 'topic 7'"),
    "an address": ({"url": "https://example.org/77"}, "url = 'https://example.org/77'"),
    "a range of numbers": ({"score": {"$gte": 100, "$lt": 5000}}, "score >= 100 AND score < 5000"),
    "most years": ({"year": {"$gte": 2000}}, "year >= 2000"),
    "a topic or a year": ({"$or": [{"topic": "topic 1"}, {"year": 2001}]}, "topic = 'topic 1' OR year = 2001"),
    "a part of an address": ({"url": {"$contains": "777"}}, "url LIKE '%777%'"),
}


class Drawn:
    """Vectors drawn at random, whatever the text."""

    width, name, fingerprint = WIDTH, "drawn", "0" * 64

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def check_context(self, context: CorpusContext) -> None:
        """Accept every context."""

    def fit_context(self, texts: Any, size: Any = None, *options: Any, **named: Any) -> CorpusContext:
        """Fit one of 16 documents."""
        return fit_context_of(self, texts, 16, "random", 0, False)

    def encode_documents(self, texts: Sequence[str], *_: Any, **options: Any) -> NDArray[np.float32]:
        """(n, width) unit rows."""
        rows = self._random.standard_normal((len(texts), WIDTH), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    encode_queries = first_stage_vectors = encode_documents


def metadata_of(row: int) -> dict[str, Any]:
    """What the document in a row says."""
    return {
        "year": 1990 + row % 35,
        "topic": f"topic {row % 200}",
        "score": row * 0.5,
        "url": f"https://example.org/{row}",
    }


class Documents:
    """The documents, made in every pass."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Document]:
        return (Document(f"text {row}", f"d{row}", metadata_of(row)) for row in range(self._rows))


def private_memory() -> int:
    """Memory of this process that no file backs, in megabytes (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))


def database(path: Path, rows: int) -> sqlite3.Connection:
    """Put the metadata into a table with an index on every field."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE documents (row INTEGER PRIMARY KEY, year, topic, score, url)")
    every = ((row, *metadata_of(row).values()) for row in range(rows))
    connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", every)
    for field in FIELDS:
        connection.execute(f"CREATE INDEX by_{field} ON documents ({field})")
    connection.commit()
    return connection


def milliseconds(work: Callable[[], Any]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1_000


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Build everything in a folder, and time every filter."""
    faiss.omp_set_num_threads(1)
    embedder: Any = Drawn()
    ContextualIndex.build(Documents(rows), embedder, folder / "index", show_progress=False)
    connection = database(folder / "metadata.sqlite", rows)
    before = private_memory()
    index = ContextualIndex.open(folder / "index", embedder)
    opened = private_memory()
    query = embedder.encode_queries(["a query"])
    fingerprint = index.context.fingerprint

    def ours(query_filter: dict[str, Any] | None) -> Any:
        return index.search_embedded(query, fingerprint, K, filter=query_filter)

    ours(None)
    first = {name: milliseconds(lambda: ours(found)) for name, (found, _) in FILTERS.items()}  # noqa: B023
    filtered = private_memory()
    flat = faiss.IndexFlatIP(WIDTH)
    for start in range(0, rows, BATCH):
        flat.add(index.vectors([f"d{row}" for row in range(start, min(start + BATCH, rows))]))
    result: dict[str, Any] = {
        "rows": rows,
        "private memory, MB": {"before": before, "opened": opened, "filtered": filtered},
        "columns, bytes": sum(
            path.stat().st_size for path in (folder / "index").glob("segments/*/columns.safetensors")
        ),
        "sqlite, bytes": (folder / "metadata.sqlite").stat().st_size,
        "unfiltered, ms": median(milliseconds(lambda: ours(None)) for _ in range(TIMES)),
        "filters": {},
    }
    for name, (query_filter, condition) in FILTERS.items():
        allowed = index._current.snapshot.searchable_rows(query_filter)
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        parameters = faiss.SearchParameters(sel=selector)
        works: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(query_filter),  # noqa: B023
            "rows": lambda: index._current.snapshot.searchable_rows(query_filter),  # noqa: B023
            "faiss": lambda: flat.search(query, K, params=parameters),  # noqa: B023
            "sqlite": lambda: connection.execute(f"SELECT row FROM documents WHERE {condition}").fetchall(),  # noqa: B023
        }
        times = [{each: milliseconds(work) for each, work in works.items()} for _ in range(TIMES)]
        result["filters"][name] = {
            "passing": int(allowed.sum()),
            "first": first[name],
            **{each: median(turn[each] for turn in times) for each in works},
        }
    return result


def table(result: dict[str, Any]) -> str:
    """One row per filter, in milliseconds."""
    lines = [
        "| filter | rows that pass | first | a query | the filter alone | faiss, rows given | SQLite, rows alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["filters"].items():
        times = (f"{row[each]:.1f}" for each in ("first", "ours", "rows", "faiss", "sqlite"))
        lines.append(f"| {name} | {row['passing']:,} | {' | '.join(times)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.rows)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
