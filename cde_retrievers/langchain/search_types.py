"""LangChain's search types as modes of an index, and scores on LangChain's scale from 0 to 1."""

from collections.abc import Mapping
from typing import Any, Literal, TypeGuard, get_args

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import Hit
from cde_retrievers.index.queries import Mode
from cde_retrievers.retrieval.fusion import LEXICAL_WEIGHT

RankedSearch = Literal["hybrid", "similarity", "lexical"]
"""A search that ranks documents by one score: of vectors and words, of vectors alone, of words alone."""
SearchType = Literal["hybrid", "similarity", "lexical", "mmr", "similarity_score_threshold"]
"""Every search of a `ContextualVectorStore` by name."""

MODES: Mapping[RankedSearch, Mode] = {"hybrid": "hybrid", "similarity": "dense", "lexical": "lexical"}
"""Mode of an index by ranked search."""
SEARCHES: Mapping[Mode, RankedSearch] = {mode: name for name, mode in MODES.items()}
"""Ranked search by mode of an index."""


def is_ranked(search_type: str) -> TypeGuard[RankedSearch]:
    """Return whether a search ranks by one score.

    Raises:
        ConfigurationError: there is no such search.
    """
    if not isinstance(search_type, str) or search_type not in get_args(SearchType):
        raise ConfigurationError(
            f"search_type {shown(search_type)} is unknown; use one of {', '.join(get_args(SearchType))}"
        )
    return search_type in MODES


def refuse_options(options: dict[str, Any]) -> None:
    """Raise ConfigurationError if there are options: a misspelt one would have no effect."""
    if options:
        raise ConfigurationError(
            f"option {sorted(options)[0]!r} is unknown to ContextualVectorStore here; a search takes k and filter "
            f"(by a text search_type too, by 'mmr' fetch_k and lambda_mult, by 'similarity_score_threshold' "
            f"score_threshold), adding takes ids and batch_size, a new store path and kind"
        )


def refuse_unbounded(mode: Mode) -> None:
    """Raise ConfigurationError for a mode whose scores have no highest value, so that none fits into 0 to 1."""
    if mode == "lexical":
        raise ConfigurationError(
            'search_type "lexical" has no relevance scores from 0 to 1, since BM25 has no highest value; use '
            '"hybrid" or "similarity", or read its scores from similarity_search_with_score()'
        )


def relevance(hit: Hit) -> float:
    """Map the score of a hit from its range to LangChain's scale from 0 to 1, within which rounding errors stay.

    A cosine is at least -1 and at most 1. Words add 0 to a, `fusion.LEXICAL_WEIGHT`.
    """
    highest = 1.0 if hit.lexical is None else 1.0 + LEXICAL_WEIGHT
    return min(1.0, max(0.0, (1.0 + hit.score) / (1.0 + highest)))
