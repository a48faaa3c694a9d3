"""Does approximate search find as much as it is calibrated to, where people ask?

Indexes are calibrated by queries that are sums of so many of their own vectors, and then searched by queries that they
never saw: documents of the same corpora, and questions of two sets about other things, of which Python is in a third of
the documents. Documents are the first words of texts from three corpora. In "near copies" each tenth of them is there
ten times, with a little noise, as in a folder of many versions. Recall is the share of the ten nearest among the
candidates, as exact search finds them. All under one context, by the built-in model.

    python benchmarks/calibration.py --data <folder of BEIR sets> --output <file>
    python benchmarks/calibration.py --table <file>
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from beir import load_documents, load_set
from builtin_model.command_line import options, write_and_show
from processor import machine

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import accelerator, calibration
from cde_retrievers.index.manifest import Kind
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.validation.vectors import Embeddings, unit_rows

CORPORA, ASKED = ("wordnet-glosses", "debian-packages", "python-docstrings"), ("conala", "stackexchange-ai")
WORDS, DOCUMENTS, QUERIES, K = 12, 24_000, 200, 10
COPIES, NOISE = 10, 0.5
PARTS = (1, 2, 4, 8, 16)
KINDS: tuple[Kind, ...] = ("ivf", "hnsw")


def texts(data: Path) -> tuple[list[str], list[str]]:
    """Documents to index, in turn from each corpus, and others that stay unseen."""
    each = DOCUMENTS // len(CORPORA)

    def first_words(name: str) -> Iterator[str]:
        return (" ".join(text.split()[:WORDS]) for text in load_documents(data / name))

    taken = [list(islice(first_words(name), each + QUERIES)) for name in CORPORA]
    unseen = [text for found in taken for text in found[each:]]
    return [text for row in zip(*(found[:each] for found in taken), strict=True) for text in row], unseen


def near_copies(vectors: Embeddings) -> Embeddings:
    """As many vectors, of which ten at a time are nearly the same."""
    few = np.repeat(vectors[::COPIES], COPIES, axis=0)
    noise = np.random.default_rng(0).standard_normal(few.shape, dtype=np.float32)
    return unit_rows(few + noise * np.float32(NOISE / few.shape[1] ** 0.5))


def recalls(kind: Kind, vectors: Embeddings, asked: dict[str, Embeddings]) -> Iterator[dict[str, Any]]:
    """What is found after each calibration."""
    index = accelerator._empty(kind, *vectors.shape)
    index.train(vectors)
    index.add(vectors)
    everything = [(0, vectors, np.ones(len(vectors), dtype=np.bool_))]
    nearest = {name: exact_search(queries, everything, K)[1] for name, queries in asked.items()}
    for parts in PARTS:
        calibration._VECTORS_OF_QUERY = parts
        accelerator._calibrate(index, kind, [vectors])
        found = {name: index.search(queries, accelerator._MIN_CANDIDATES)[1] for name, queries in asked.items()}
        yield {
            "kind": kind,
            "vectors_of_query": parts,
            "effort": accelerator._effort(index, kind),
            "recall": {name: share(nearest[name], rows) for name, rows in found.items()},
        }


def share(nearest: Any, found: Any) -> float:
    """Of the nearest rows (Q, K), how many are among those found (Q, C)."""
    return round(float(np.mean([np.isin(right, rows).mean() for right, rows in zip(nearest, found, strict=True)])), 4)


def run(data: Path) -> dict[str, Any]:
    """Embed everything once, and calibrate each kind over both sets of vectors."""
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu")
    indexed, unseen = texts(data)
    context = encoder.fit_context(indexed)
    asked = {"unseen documents": encoder.encode_documents(unseen, context)}
    for name in ASKED:
        asked[name] = encoder.encode_queries(load_set(data / name, "train", QUERIES).queries, context)
    vectors = encoder.encode_documents(indexed, context)
    rows = [
        {"documents": documents, **row}
        for documents, held in (("real", vectors), ("near copies", near_copies(vectors)))
        for kind in KINDS
        for row in recalls(kind, held, asked)
    ]
    return {"machine": machine(["torch", "faiss-cpu", "numpy"]), "indexed": len(vectors), "rows": rows}


def table(result: dict[str, Any]) -> str:
    """A row for each calibration."""
    names = list(result["rows"][0]["recall"])
    lines = [
        f"| documents | kind | vectors of a query | effort | {' | '.join(names)} |",
        "|---" * (len(names) + 4) + "|",
    ]
    for row in result["rows"]:
        found = " | ".join(f"{row['recall'][name]:.3f}" for name in names)
        lines.append(
            f"| {row['documents']} | {row['kind']} | {row['vectors_of_query']} | {row['effort']:,} | {found} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of a result."""
    arguments = options(__doc__, table)
    if arguments is not None:
        write_and_show(run(arguments.data), arguments.output, table)


if __name__ == "__main__":
    main()
