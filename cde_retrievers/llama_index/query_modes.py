"""LlamaIndex's queries as searches of an index by vectors, by words, or by both. Axis: W width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index.queries import Mode
from cde_retrievers.llama_index.vector_checks import query_vector
from cde_retrievers.validation.numbers import check_whole, is_number
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings

_MODES: Mapping[str, Mode] = {
    VectorStoreQueryMode.DEFAULT: "dense",
    VectorStoreQueryMode.MMR: "dense",
    VectorStoreQueryMode.SPARSE: "lexical",
    VectorStoreQueryMode.TEXT_SEARCH: "lexical",
    VectorStoreQueryMode.HYBRID: "hybrid",
}
MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_k")
"""Options of a query in mode "mmr"."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchRequest:
    """What a query asks of the index.

    Attributes:
        mode: what nodes are ranked by.
        k: number of nodes.
        vector: the query's unit vector (W,); None in mode "lexical".
        text: the query's text; None in mode "dense".
        alpha: share of the cosine in mode "hybrid", above 0 and below 1; None for the index's own fusion.
    """

    mode: Mode
    k: int
    vector: Embeddings | None
    text: str | None
    alpha: float | None = None

    @classmethod
    def of(cls, query: VectorStoreQuery, width: int) -> Self:
        """Return what a query asks of an index of vectors that are `width` wide.

        Raises:
            ConfigurationError: its mode, `alpha` or number of nodes is impossible, or it lacks the vector or the text
                that the mode needs.
            InvalidTextError: its text is not a valid one.
        """
        mode = _mode(query)
        vector = None if mode == "lexical" else query_vector(query.query_embedding, width)
        text = None if mode == "dense" else _text(query)
        return cls(mode, _count(query), vector, text, None if mode != "hybrid" else query.alpha)


def _mode(query: VectorStoreQuery) -> Mode:
    if not isinstance(query.mode, str) or query.mode not in _MODES:
        raise ConfigurationError(
            f"query mode {shown(getattr(query.mode, 'value', query.mode))} is unknown to ContextualVectorStore; use "
            f"one of {', '.join(VectorStoreQueryMode(mode).value for mode in _MODES)}"
        )
    if query.mode != VectorStoreQueryMode.HYBRID or query.alpha is None:
        return _MODES[query.mode]
    if not (is_number(query.alpha) and 0 <= query.alpha <= 1):
        raise ConfigurationError(
            f"alpha must be a number from 0 (words only) to 1 (vectors only), found {shown(query.alpha)}; leave it out "
            f"for the index's own fusion"
        )
    return "dense" if query.alpha == 1 else "lexical" if query.alpha == 0 else "hybrid"


def _count(query: VectorStoreQuery) -> int:
    name = {"lexical": "sparse_top_k", "hybrid": "hybrid_top_k"}.get(_MODES[query.mode], "similarity_top_k")
    if getattr(query, name) is None:
        name = "similarity_top_k"
    count: int = getattr(query, name)
    check_whole(name, count, 1)
    return count


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise ConfigurationError(
            "a search by words needs the query's text; give VectorStoreQuery(query_str=...), or mode 'default' for the "
            "vector alone"
        )
    return next(iter(checked_texts([query.query_str])))


def refuse_options(options: Mapping[str, Any], known: Sequence[str] = ()) -> None:
    """Raise ConfigurationError if there are unknown options: a misspelt one would have no effect."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigurationError(
            f"option {unknown[0]!r} is unknown to ContextualVectorStore; "
            + (f"use {known}" if known else "leave it out")
        )
