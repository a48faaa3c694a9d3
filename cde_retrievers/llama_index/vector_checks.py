"""Checks of the vectors that LlamaIndex passes to a store: their shape, and a sample of them against the embedding.

Axes: n nodes, W width.
"""

from collections.abc import Sequence, Sized

import numpy as np
from llama_index.core.schema import BaseNode

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.vector_documents import embedded_text
from cde_retrievers.validation.signatures import is_iterable
from cde_retrievers.validation.vectors import Embeddings, as_unit_rows, checked_vectors, unit_rows

_SAME = 0.99
"""Least cosine of two vectors of a text that differ only in number format and batch."""
_QUERIES_PER_CHECK = 100
_SAMPLE = 100
_SURELY_SAME = 0.999
"""Least cosine of two vectors of a text where nothing else tells their context."""


def node_vectors(nodes: Sequence[BaseNode], width: int) -> Embeddings:
    """Return the vectors (n, W) of the nodes as unit rows.

    Raises:
        ConfigurationError: a node has no vector, one of another width, or one with values that are not finite numbers.
    """
    for node in nodes:
        found = _length(node.embedding)
        if found != width:
            raise ConfigurationError(
                f"the vector of node {node.node_id} must have {width} numbers, found {found}; embed the nodes with the "
                f"store's embed_model, by VectorStoreIndex(nodes, embed_model=...) for example"
            )
    given = [node.get_embedding() for node in nodes]
    return unit_rows(checked_vectors(given, len(given), width, ConfigurationError))


def query_vector(vector: Sequence[float] | None, width: int) -> Embeddings:
    """Return the vector (W,) of a query with length 1; raises ConfigurationError as `node_vectors`."""
    found = _length(vector)
    if found != width:
        raise ConfigurationError(
            f"the query's vector must have {width} numbers, found {found}; give the index the store's "
            f"embed_model: VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)"
        )
    unit: Embeddings = as_unit_rows(checked_vectors([vector], 1, width, ConfigurationError))[0]
    return unit


def find_foreign(
    nodes: Sequence[BaseNode], vectors: Sequence[Sequence[float]], embed_model: ContextBoundEmbedding
) -> BaseNode | None:
    """Return a node whose vector was not made by the embedding, or None.

    Args:
        nodes: n nodes, of which a hundred, spread evenly, are embedded again and compared.
        vectors: their vectors (n, W).
        embed_model: the embedding.
    """
    rows = sorted({round(row) for row in np.linspace(0, len(nodes) - 1, min(_SAMPLE, len(nodes)))})
    texts = [embedded_text(nodes[row]) for row in rows]
    expected = embed_model._binding.encode_documents(texts, show_progress=False)
    found = [np.asarray(vectors[row], dtype=np.float32) for row in rows]
    same = (
        one.shape == each.shape and _cosine(one, each) >= _SURELY_SAME
        for one, each in zip(found, expected, strict=True)
    )
    return next((nodes[row] for row, is_same in zip(rows, same, strict=True) if not is_same), None)


def _cosine(vector: Embeddings, unit: Embeddings) -> float:
    """Return the cosine of a vector and a unit vector; NaN for a vector of zeros."""
    with np.errstate(invalid="ignore"):
        return float(vector @ unit / np.linalg.norm(vector))


def _length(vector: object) -> int:
    """Return how many numbers a vector has; 0 if it is not a vector."""
    return len(vector) if is_iterable(vector) and isinstance(vector, Sized) else 0


class SampleCheck:
    """Embeds a sample of nodes and queries, and refuses vectors that differ from the result.

    Args:
        embed_model: the embedding that should have made the vectors.
    """

    def __init__(self, embed_model: ContextBoundEmbedding) -> None:
        self._embed_model = embed_model
        self._queries = 0

    def check_nodes(self, nodes: Sequence[BaseNode], vectors: Embeddings) -> None:
        """Raise ContextMismatchError if the vector of one of these nodes (n, W) was not made by the embedding."""
        sample = len(nodes) // 2
        node = nodes[sample]
        expected = self._embed_model._binding.encode_documents([embedded_text(node)], show_progress=False)
        self._compare(vectors[sample], expected[0], f"node {node.node_id}")

    def check_query(self, query: str, vector: Embeddings) -> None:
        """Raise ContextMismatchError if the vector (W,) was not made by the embedding; checks one call in a hundred."""
        if self._queries % _QUERIES_PER_CHECK == 0:
            expected = self._embed_model._binding.encode_queries([query], show_progress=False)
            self._compare(vector, expected[0], f"query {query[:60]!r}")
        self._queries += 1

    def _compare(self, found: Embeddings, expected: Embeddings, whose: str) -> None:
        cosine = float(np.dot(found, expected))
        if not cosine >= _SAME:  # also if it is NaN
            raise ContextMismatchError(
                f"the vector of {whose} is not the one that its text has under context "
                f"{self._embed_model.context_fingerprint} (cosine {cosine:.3f}), so it was made by another model or "
                f"under another context. Give the index the store's own embedding (embed_model=store.embed_model), and "
                f"set node.embedding = None if nodes already have vectors. If vectors should differ from those of the "
                f"texts, as with HyDE, create the store with verify=False"
            )
