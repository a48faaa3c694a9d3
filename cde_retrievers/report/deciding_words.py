"""The words of a query that decide between two documents: those whose BM25 differs most.

The analyzer turns words into numbers, so the query's own words are looked up by theirs.
"""

import unicodedata
from collections.abc import Iterator, Mapping

from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows

_MOST = 3
_SHARE = 0.25  # of what the first word gives: what gives less decided little


def deciding_words(query: str, favoured: str, other: str, statistics: TermStatistics) -> tuple[str, ...]:
    """Return the words that raise one document over another, at most three, most first.

    Args:
        query: its text.
        favoured: text of the document that was placed higher.
        other: text of the one below it.
        statistics: those by which words were weighted.

    Returns:
        Words as they stand in the query, each of which gives at least a quarter of what the first does; none if its
        words together do not favour that document.

    Raises:
        ContextMismatchError: the installed analyzer yields other words than the one that made the statistics.
    """
    differences = _differences(query, favoured, other, statistics)
    if sum(differences.values()) <= 0:
        return ()
    analyzer = statistics.installed_analyzer()
    counted: set[int] = set()
    found = []
    for word in _words(query, analyzer):
        terms = set(analyzer.terms(word)) - counted  # BM25 counts the repetitions of a word at its first occurrence
        counted |= terms
        found.append((sum(differences.get(term, 0.0) for term in terms), word))
    best = sorted(found, key=lambda each: -each[0])[:_MOST]
    return tuple(word for difference, word in best if difference >= _SHARE * best[0][0])


def _differences(query: str, favoured: str, other: str, statistics: TermStatistics) -> Mapping[int, float]:
    """What each term of the query adds to the BM25 of the one document more than to that of the other."""
    rows = document_rows((favoured, other), statistics)
    products = (rows[0] - rows[1]).multiply(query_rows((query,), statistics)).tocoo()
    return dict(zip(products.col.tolist(), products.data.tolist(), strict=True))


def _words(query: str, analyzer: Analyzer) -> Iterator[str]:
    """Yield what stands between spaces; pairs of characters where a script has no spaces, as the analyzer does."""
    for piece in query.split():
        word = _without_marks(piece)
        pairs = [word[place : place + 2] for place in range(len(word) - 1)]
        terms = set(analyzer.terms(word))
        if len(terms) > 1 and terms <= {term for pair in pairs for term in analyzer.terms(pair)}:
            yield from map(_without_marks, pairs)
        else:
            yield word


def _without_marks(word: str) -> str:
    """Return a word without the punctuation and symbols around it."""
    kept = [place for place, character in enumerate(word) if unicodedata.category(character)[0] not in "PS"]
    return word[kept[0] : kept[-1] + 1] if kept else ""
