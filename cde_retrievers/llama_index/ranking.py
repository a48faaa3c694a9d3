"""Ranking of given nodes by vectors, by words, or by both, as an index that holds only these would rank them.

Axes: n nodes, W width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.index import Document, Hit
from cde_retrievers.llama_index.query_modes import SearchRequest
from cde_retrievers.retrieval.fusion import lexical_bonus, query_mass
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.validation.vectors import Embeddings

Scores = NDArray[np.float32]
_LEAST = 1e-9  # where no node has a word of the query


def ranked(
    documents: Sequence[Document | Hit], vectors: Embeddings, request: SearchRequest, context: CorpusContext
) -> list[Hit]:
    """Return the best of these nodes, best first.

    Args:
        documents: n nodes as documents of the index.
        vectors: their vectors (n, W).
        request: the search. In mode "lexical" a node without a word of the query is left out.
        context: context of the index.

    Raises:
        ContextMismatchError: the search needs words, and the context carries no term statistics.
    """
    if not documents:
        return []
    dense = None if request.vector is None else vectors @ request.vector
    asked = None if request.text is None else query_rows([request.text], context.term_statistics())
    lexical = None if asked is None else _bm25(documents, asked, context)
    scores = _fused(dense, lexical, asked, request.alpha)
    best = np.argsort(-scores, kind="stable")[: request.k]
    return [
        Hit(
            str(documents[row].id),
            documents[row].text,
            documents[row].metadata,
            float(scores[row]),
            None if dense is None else float(dense[row]),
            None if lexical is None else float(lexical[row]),
        )
        for row in best
        if dense is not None or scores[row] > 0
    ]


def _bm25(documents: Sequence[Document | Hit], query: csr_matrix, context: CorpusContext) -> Scores:
    """Return the BM25 of each node (n,) for a query as a sparse row."""
    rows = document_rows([document.text for document in documents], context.term_statistics())
    scores: Scores = (rows @ query.T).toarray()[:, 0]
    return scores


def _fused(dense: Scores | None, lexical: Scores | None, query: csr_matrix | None, alpha: float | None) -> Scores:
    """Return one score for each node (n,), of its cosine, its BM25, or both."""
    if dense is None or lexical is None or query is None:
        only = lexical if dense is None else dense
        assert only is not None, "a query has at least one view"
        return only
    scores: Scores
    if alpha is None:
        scores = dense + lexical_bonus(lexical[None], query_mass(query))[0]
    else:
        scores = alpha * dense + (1 - alpha) * lexical / max(float(lexical.max()), _LEAST)
    return scores
