"""Plain MiniLM vectors of small corpora, kept in a folder: what both drift benchmarks are computed from.

Under the built-in model a first-stage vector is the plain vector, and an embedding under any context is a linear map of
it. So one pass over the texts is enough for every split, mixture and context.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from beir import RetrievalDataset, Vectors, load_set

from cde_retrievers import ContextualEncoder

DOCUMENTS = 1500
QUERIES = 150
WORDS = 100


@dataclass(frozen=True)
class EmbeddedSet:
    """A small retrieval set with the plain unit vectors of its texts.

    Attributes:
        data: at most `DOCUMENTS` documents, all different, each cut after `WORDS` words; at most `QUERIES` queries.
        documents: their vectors (n, 384).
        queries: the queries' vectors (q, 384).
    """

    data: RetrievalDataset
    documents: Vectors
    queries: Vectors


def embedded_set(folder: Path, encoder: ContextualEncoder, cache: Path) -> EmbeddedSet:
    """The set of a folder: cut, drawn, embedded by an encoder whose context changes nothing, and kept in `cache`."""
    data = _small(load_set(folder, _split(folder), QUERIES))
    identity = [encoder.fingerprint, data.documents, data.queries]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    path = cache / f"{folder.name}-{key}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        documents = encoder.first_stage_vectors(data.documents, show_progress=False)
        queries = encoder.first_stage_vectors(data.queries, show_progress=False)
        np.savez(path, documents=documents, queries=queries)
    with np.load(path) as kept:
        return EmbeddedSet(data, _unit(kept["documents"]), _unit(kept["queries"]))


def _split(folder: Path) -> str:
    return "test" if (folder / "qrels" / "test.tsv").is_file() else "train"


def _small(data: RetrievalDataset) -> RetrievalDataset:
    """Every judged document first, then others in a random order; of two that read the same, the first stays."""
    judged = {document for row in data.qrels.values() for document in row}
    order = np.random.default_rng(0).permutation(len(data.documents))
    order = sorted(order, key=lambda place: data.document_ids[place] not in judged)
    texts: dict[str, str] = {}
    for place in order:
        texts.setdefault(" ".join(data.documents[place].split()[:WORDS]), data.document_ids[place])
    kept = list(texts.items())[:DOCUMENTS]
    ids = {document for _, document in kept}
    qrels = {query: {d: score for d, score in row.items() if d in ids} for query, row in data.qrels.items()}
    asked = [place for place, query in enumerate(data.query_ids) if any(qrels[query].values())]
    return replace(
        data,
        document_ids=[document for _, document in kept],
        documents=[text for text, _ in kept],
        query_ids=[data.query_ids[place] for place in asked],
        queries=[data.queries[place] for place in asked],
        qrels={data.query_ids[place]: qrels[data.query_ids[place]] for place in asked},
    )


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
