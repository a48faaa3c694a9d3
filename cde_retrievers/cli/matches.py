"""The words of a query that a text shares, and where they stand in it."""

from dataclasses import dataclass
from typing import Self

import regex

from cde_retrievers.sparse import Analyzer, TermStatistics

_WORD = regex.compile(r"[\w.\-]+")  # as the analyzer divides a text


@dataclass(frozen=True, slots=True)
class QueryWords:
    """The words of a query, as the index searches for them.

    Attributes:
        analyzer: turns words into terms.
        terms: terms of each word; words that are not searched for, such as "the", have none.
    """

    analyzer: Analyzer
    terms: dict[str, frozenset[int]]

    @classmethod
    def of(cls, query: str, statistics: TermStatistics) -> Self:
        """Return the words of a query."""
        analyzer = statistics.installed_analyzer()
        return cls(analyzer, {word.strip(".-"): frozenset(analyzer.terms(word)) for word in _WORD.findall(query)})

    def shared_with(self, text: str) -> list[str]:
        """Return those that the text has in some form, in the order of the query."""
        found = set(self.analyzer.terms(text))
        return [word for word, terms in self.terms.items() if terms & found]

    def places_in(self, text: str) -> list[tuple[int, int]]:
        """Return where each of them begins and ends in the text."""
        wanted = frozenset[int]().union(*self.terms.values())
        return [
            match.span() for match in _WORD.finditer(text) if not wanted.isdisjoint(self.analyzer.terms(match.group()))
        ]
