"""Documents that say the same: a search that finds a copy of the answer has found the answer.

Two documents are near-copies if they share at least 90 % of their runs of four words, of all that either has (Jaccard
index); case, spaces and punctuation do not count.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence

_WORDS = re.compile(r"\w+")
_RUN = 4
_SHARE = 0.9


def near_copies(texts: Sequence[str], rows: Collection[int]) -> dict[int, list[int]]:
    """Return the near-copies of some texts among all, each in the order of the texts, and without itself.

    Args:
        texts: all.
        rows: places of those whose copies are looked for.
    """
    runs = {row: _runs(texts[row]) for row in rows}
    counts = Counter(run for found in runs.values() for run in found)
    by_run: dict[str, list[int]] = {}
    for row, found in runs.items():
        for run in _rarest(found, counts):
            by_run.setdefault(run, []).append(row)
    copies: dict[int, list[int]] = {row: [] for row in rows}
    for place, text in enumerate(texts):
        found = runs[place] if place in runs else _runs(text)
        for row in {row for run in _rarest(found, counts) for row in by_run.get(run, ())}:
            if row != place and _are_near(runs[row], found):
                copies[row].append(place)
    return copies


def _are_near(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SHARE * len(one | other)


def _runs(text: str) -> frozenset[str]:
    """Return every run of four words; of a shorter text, all its words as one."""
    words = _WORDS.findall(text.casefold())
    return frozenset(" ".join(words[start : start + _RUN]) for start in range(max(1, len(words) - _RUN + 1)))


def _rarest(runs: frozenset[str], counts: Counter[str]) -> list[str]:
    """Return as many of the rarest runs that two near-copies must share one of them."""
    order = sorted(runs, key=lambda run: (counts[run], run))
    return order[: int((1 - _SHARE) * len(order) + 1e-9) + 1]
