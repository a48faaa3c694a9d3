"""Pairs about a few topics, and vectors in which texts of one topic lie close together."""

import numpy as np

from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

WIDTH = 12


def topic_pairs(sizes: dict[str, int]) -> TrainingPairs:
    """As many pairs as `sizes` says in each domain, all texts different."""
    return TrainingPairs.of(
        Pair(f"query {i} of {domain}", f"document {i} of {domain}", domain=domain)
        for domain, size in sizes.items()
        for i in range(size)
    )


def topic_vectors(pairs: TrainingPairs, topics: int = 6, noise: float = 0.2, seed: int = 0) -> PairVectors:
    """Every pair has a topic drawn at random; its query and its document lie near the topic's centre."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((topics, WIDTH))
    topic = rng.integers(topics, size=len(pairs))
    queries = rng.standard_normal((len(pairs.queries), WIDTH)) * noise
    documents = rng.standard_normal((len(pairs.documents), WIDTH)) * noise
    queries[pairs.query_of] += centres[topic]
    documents[pairs.positive_of] += centres[topic]
    return PairVectors(unit(queries), unit(documents), "topics")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
