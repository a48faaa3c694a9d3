"""Statistics of training pairs, and whether there are enough to train on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cde_retrievers.corpora.pseudo_queries import plain
from cde_retrievers.encoder.batching import text_windows
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.training.data.pairs import TrainingPairs, check_table, first_rows
from cde_retrievers.util.counted import counted
from cde_retrievers.validation.numbers import check_whole

_ROWS_SHOWN = 5
_FINDINGS = {
    "repeated": "repeated pairs",
    "equal": "pairs whose query is the document",
    "contradicting": "pairs with a hard negative that is a positive of the query elsewhere",
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """The distinct texts of one role: their number, the tokens of the longest, and how many the model cuts.

    Prompt and special tokens are counted.
    """

    texts: int
    longest: int
    cut: int


@dataclass(frozen=True, slots=True)
class PairsReport:
    """Statistics of training pairs.

    `batches` are those of an epoch, where repeated pairs count once; `domains` are numbers of pairs, the largest first;
    `documents` include hard negatives.

    Attributes:
        findings: rows of pairs to look at, none of which prevents training: "repeated" (an earlier pair has the same
            texts; only the hard negatives of this one are used), "equal" (the query is the document, but for case and
            spaces) and "contradicting" (a hard negative is a positive of the same query in another pair).
    """

    pairs: int
    hard_negatives: int
    batch_size: int
    batches: int
    domains: Mapping[str, int]
    queries: Lengths
    documents: Lengths
    findings: Mapping[str, tuple[int, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; of each finding the count and the first few rows."""
        found = {name: {"count": len(rows), "first": rows[:_ROWS_SHOWN]} for name, rows in self.findings.items()}
        return {**asdict(self), "findings": found}

    def __str__(self) -> str:
        small = sum(count < self.batch_size for count in self.domains.values())
        shared = f"; {small:,} of them smaller than a batch, which share batches with others" if small else ""
        lines = [
            f"{counted(self.pairs, 'pair')}: {counted(self.queries.texts, 'distinct query')}, "
            f"{counted(self.documents.texts, 'distinct document')}, {counted(self.hard_negatives, 'hard negative')}",
            f"batches of {self.batch_size:,}: {self.batches:,} an epoch",
            f"domains: {len(self.domains):,}{shared}",
        ]
        for role, found in (("queries", self.queries), ("documents", self.documents)):
            lines.append(f"tokens of {role}: at most {found.longest:,}; {found.cut:,} of {found.texts:,} are cut")
        for name, rows in self.findings.items():
            shown = [str(row) for row in rows[:_ROWS_SHOWN]] + ["..."] * (len(rows) > _ROWS_SHOWN)
            lines.append(f"{_FINDINGS[name]}: {len(rows):,}" + (f" (pair {', '.join(shown)})" if rows else ""))
        return "\n".join(lines)


def describe_pairs(pairs: TrainingPairs, encoder: ContextualEncoder, *, batch_size: int) -> PairsReport:
    """Measure the pairs as the model to train reads them, with its tokenizer and prompts.

    Raises:
        TrainingDataError: `pairs` is something else, such as rows that were not read yet.
        ConfigurationError: the batch size is less than 2: the other pairs of a batch are the negatives of each.
    """
    _check(pairs, batch_size)
    counts = Counter(pairs.domain_of.tolist())
    return PairsReport(
        pairs=len(pairs),
        hard_negatives=sum(map(len, pairs.negatives_of)),
        batch_size=int(batch_size),
        batches=len(first_rows(pairs)) // int(batch_size),
        domains={pairs.domains[row]: count for row, count in counts.most_common()},
        queries=_lengths(pairs.queries, encoder.config.query_prompt, encoder),
        documents=_lengths(pairs.documents, encoder.config.document_prompt, encoder),
        findings=_findings(pairs),
    )


def check_enough(pairs: TrainingPairs, batch_size: int) -> None:
    """Raise TrainingDataError for pairs that do not fill one batch, or leave nothing to tell apart.

    Other errors are those of `describe_pairs`.
    """
    _check(pairs, batch_size)
    distinct = len(first_rows(pairs))
    if distinct < batch_size:
        raise TrainingDataError(
            f"a batch takes {batch_size:,} distinct pairs, but only {distinct:,} of {len(pairs):,} pairs are distinct; "
            f"give more pairs, or a smaller batch"
        )
    for role, rows in (("document", pairs.positive_of), ("query", pairs.query_of)):
        if len(np.unique(rows)) == 1 and not any(pairs.negatives_of):
            raise TrainingDataError(
                f"all pairs have the same {role}, so there is nothing to tell apart; give pairs of other texts, or "
                f"hard negatives"
            )


def _check(pairs: TrainingPairs, batch_size: int) -> None:
    check_table(pairs)
    check_whole("batch_size", batch_size, 2)


def _lengths(texts: Sequence[str], prompt: str, encoder: ContextualEncoder) -> Lengths:
    uncut = TextTokenizer(encoder.tokenizer, 2**31 - 1, 0)
    counts: list[int] = []
    for start, stop in text_windows(texts):
        counts += [len(row) for row in uncut.encode([prompt + text for text in texts[start:stop]])]
    return Lengths(len(texts), max(counts), sum(count > encoder.config.max_length for count in counts))


def _findings(pairs: TrainingPairs) -> dict[str, tuple[int, ...]]:
    sides = list(zip(pairs.query_of.tolist(), pairs.positive_of.tolist(), strict=True))
    known, first = set(sides), set(first_rows(pairs).tolist())
    rules: dict[str, Callable[[int, int, int], bool]] = {
        "repeated": lambda row, query, positive: row not in first,
        "equal": lambda row, query, positive: plain(pairs.queries[query]) == plain(pairs.documents[positive]),
        "contradicting": lambda row, query, _: any((query, other) in known for other in pairs.negatives_of[row]),
    }
    return {name: tuple(row for row, side in enumerate(sides) if rule(row, *side)) for name, rule in rules.items()}
