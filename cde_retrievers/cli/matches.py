"""The words of a query that a text shares, and where they stand in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import regex

from cde_retrievers.sparse import Analyzer, TermStatistics

_LEAST_WEIGHT = 0.25  # of a term, as a share of the heaviest one of the query
# Many of these are rare enough in a manual to weigh as much as its subjects, but no reader looks for them.
_ENGLISH = """about after all also am any because been before between both can could did do does done each from had
has have having he her his how i its me more most my nor our out over she should so some than them through too
under until up us we were what when where which while who whom whose why would you your"""
_FUNCTION_WORDS = {"english": frozenset(_ENGLISH.split())}
_WORD = regex.compile(r"[\w.\-]+")  # as the analyzer divides a text


@dataclass(frozen=True, slots=True)
class Match:
    """A word of a text that a query asks for.

    Attributes:
        start: its place in the text.
        stop: the place after its end.
        terms: those that it shares with the query.
    """

    start: int
    stop: int
    terms: frozenset[int]


@dataclass(frozen=True, slots=True)
class QueryWords:
    """The words of a query, as the index searches for them.

    Attributes:
        analyzer: turns words into terms.
        terms: terms of each word that carry weight. Those that are not searched for, that stand in most documents, or
            that only join others, such as "the" and "from", carry none.
        weights: of the terms.
    """

    analyzer: Analyzer
    terms: dict[str, frozenset[int]]
    weights: dict[int, float]

    @classmethod
    def of(cls, query: str, statistics: TermStatistics) -> Self:
        """Return the words of a query, and which of their terms carry weight."""
        analyzer = statistics.installed_analyzer()
        terms = {word.strip(".-"): set(analyzer.terms(word)) for word in _WORD.findall(query)}
        joining = _FUNCTION_WORDS.get(statistics.language or "", frozenset())
        # "From", but not an acronym such as "CAN".
        subjects = {word: found for word, found in terms.items() if found and word[0].lower() + word[1:] not in joining}
        terms = subjects or terms
        asked = sorted(set[int]().union(*terms.values()))
        weights = dict(zip(asked, statistics.idf(np.array(asked, dtype=np.int32)).tolist(), strict=True))
        least = _LEAST_WEIGHT * max(weights.values(), default=0.0)
        return cls(
            analyzer,
            {word: frozenset(term for term in found if weights[term] >= least) for word, found in terms.items()},
            weights,
        )

    def shared_with(self, text: str) -> list[str]:
        """Return those of weight that the text has in some form, in the order of the query."""
        found = set(self.analyzer.terms(text))
        return [word for word, terms in self.terms.items() if terms & found]

    def places_in(self, text: str) -> list[tuple[int, int]]:
        """Return where each of them begins and ends in the text."""
        return [(match.start, match.stop) for match in self.matches_in(text)]

    def matches_in(self, text: str) -> list[Match]:
        """Return where each of them stands in the text, and which terms it shares with the query."""
        wanted = frozenset[int]().union(*self.terms.values())
        found = ((word.span(), wanted.intersection(self.analyzer.terms(word.group()))) for word in _WORD.finditer(text))
        return [Match(start, stop, terms) for (start, stop), terms in found if terms]

    def weight_of(self, matches: Iterable[Match]) -> float:
        """Return the weight of the terms of some matches, each term counted once."""
        return sum(self.weights[term] for term in frozenset[int]().union(*(match.terms for match in matches)))
