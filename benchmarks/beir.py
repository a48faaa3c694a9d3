"""Retrieval sets in BEIR layout, and nDCG@10 of embeddings on them by exact search."""

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import ir_measures
import numpy as np
from ir_measures import nDCG
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
DEPTH = 10


@dataclass(frozen=True)
class RetrievalDataset:
    """A corpus, queries for it, and which documents answer which query."""

    name: str
    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, dict[str, int]]


def load_set(folder: Path, split: str = "test", max_queries: int | None = None) -> RetrievalDataset:
    """Read one folder: title and text of each document, and the judged queries of the split."""
    corpus = {row["_id"]: _text(row) for row in _rows(folder / "corpus.jsonl.gz")}
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["corpus-id"] in corpus:
                qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    texts = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl.gz") if row["_id"] in qrels}
    kept = sorted(texts)
    if max_queries is not None and len(kept) > max_queries:
        kept = sorted(np.random.default_rng(0).choice(kept, max_queries, replace=False).tolist())
    return RetrievalDataset(
        folder.name, list(corpus), list(corpus.values()), kept, [texts[i] for i in kept], {i: qrels[i] for i in kept}
    )


def load_documents(folder: Path) -> Iterator[str]:
    """Title and text of each document, one in memory at a time."""
    return map(_text, _rows(folder / "corpus.jsonl.gz"))


def load_domains(folder: Path) -> dict[str, str]:
    """The sub-corpus of each document, by id; "" where a set has none."""
    return {row["_id"]: row.get("metadata", {}).get("domain", "") for row in _rows(folder / "corpus.jsonl.gz")}


def _text(row: dict[str, Any]) -> str:
    return f"{row['title']} {row['text']}".strip()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def ndcg_at_10(data: RetrievalDataset, documents: Vectors, queries: Vectors) -> float:
    """Mean nDCG@10 over the queries; documents and queries are unit rows.

    Documents of equal score are judged in the order found.
    """
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents)
    _, found = index.search(queries, min(DEPTH, len(documents)))
    run = {
        query_id: {data.document_ids[d]: -float(rank) for rank, d in enumerate(row)}
        for query_id, row in zip(data.query_ids, found, strict=True)
    }
    return float(ir_measures.calc_aggregate([nDCG @ DEPTH], data.qrels, run)[nDCG @ DEPTH])
