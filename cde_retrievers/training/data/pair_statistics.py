"""Statistics of training pairs: how many, how long, how often the same, and whether they are enough to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cde_retrievers.corpora.pseudo_queries import plain
from cde_retrievers.encoder.batching import text_windows
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.training.data.pairs import TrainingPairs, check_table, first_rows
from cde_retrievers.validation.numbers import check_whole

_UNCUT = 2**31 - 1
_ROWS_SHOWN, _DOMAINS_SHOWN = 5, 8
# Worth a look; none of them keeps pairs from being trained on.
_FINDINGS = {
    "repeated": "repeated pairs",
    "equal": "pairs whose query is the document",
    "contradicting": "pairs with a hard negative that is a positive of the query elsewhere",
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the distinct texts of one role, prompt and special tokens included.

    Attributes:
        texts: the number of texts.
        median: half of them are at most this long.
        longest: of all.
        cut: texts that are longer than the model reads.
    """

    texts: int
    median: int
    longest: int
    cut: int

    def __str__(self) -> str:
        return f"median {self.median:,}, longest {self.longest:,}; {self.cut:,} of {self.texts:,} are cut"


@dataclass(frozen=True, slots=True)
class PairsReport:
    """Statistics of training pairs.

    Attributes:
        pairs: the number of pairs.
        hard_negatives: of all pairs together.
        batch_size: pairs of a batch.
        max_length: tokens of a text that the model reads.
        domains: pairs by domain, the largest first.
        queries: lengths of the distinct queries.
        documents: lengths of the distinct documents, hard negatives included.
        findings: rows of the pairs that are "repeated" (an earlier pair has the same texts; only the hard negatives of
            this one are used), "equal" (the query is the document, but for case and spaces) or "contradicting" (a hard
            negative is a positive of the same query in another pair).
    """

    pairs: int
    hard_negatives: int
    batch_size: int
    max_length: int
    domains: Mapping[str, int]
    queries: Lengths
    documents: Lengths
    findings: Mapping[str, tuple[int, ...]]

    @property
    def batches(self) -> int:
        """Batches of an epoch; repeated pairs count once."""
        return (self.pairs - len(self.findings["repeated"])) // self.batch_size

    @property
    def small_domains(self) -> dict[str, int]:
        """Pairs of each domain that does not fill a batch and so shares batches with others."""
        return {name: count for name, count in self.domains.items() if count < self.batch_size}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; of each finding the count and the first few pairs."""
        found = {name: {"count": len(rows), "first": rows[:_ROWS_SHOWN]} for name, rows in self.findings.items()}
        return {**asdict(self), "findings": found, "batches": self.batches, "small_domains": self.small_domains}

    def __str__(self) -> str:
        small, counts = len(self.small_domains), list(self.domains.items())
        shared = f"; {small:,} of them smaller than a batch, which share batches with others" if small else ""
        rest = counts[_DOMAINS_SHOWN:]
        lines = (
            f"{self.pairs:,} pairs: {self.queries.texts:,} distinct queries, {self.documents.texts:,} distinct "
            f"documents, {self.hard_negatives:,} hard negatives",
            f"batches of {self.batch_size:,}: {self.batches:,} an epoch",
            f"domains: {len(counts):,}{shared}",
            *(f"{count:>9,}  {name or '(no name)'}" for name, count in counts[:_DOMAINS_SHOWN]),
            *([f"{sum(count for _, count in rest):>9,}  in {len(rest):,} more"] if rest else []),
            f"tokens of queries: {self.queries} at {self.max_length:,}",
            f"tokens of documents: {self.documents} at {self.max_length:,}",
            *(f"{_FINDINGS[name]}: {_counted(rows)}" for name, rows in self.findings.items()),
        )
        return "\n".join(lines)


def describe_pairs(
    pairs: TrainingPairs,
    tokenizer: object,
    *,
    max_length: int,
    batch_size: int,
    query_prompt: str = "",
    document_prompt: str = "",
) -> PairsReport:
    """Measure the pairs as a model with this tokenizer reads them.

    Args:
        pairs: to train on.
        tokenizer: of the `tokenizers` package, a fast one of transformers, or a `TextTokenizer`.
        max_length: tokens of a text that the model reads, special tokens and prompt included.
        batch_size: pairs of a batch, at least 2: each has the others as negatives.
        query_prompt: put before every query.
        document_prompt: put before every document.

    Raises:
        TrainingDataError: `pairs` is something else, such as rows that were not read yet.
        ConfigurationError: the batch size or the length is impossible.
        CheckpointError: the tokenizer is of another kind.
    """
    check_table(pairs)
    check_whole("batch_size", batch_size, 2)
    check_whole("max_length", max_length, 1)
    uncut = TextTokenizer(tokenizer, _UNCUT, 0)
    counts = np.bincount(pairs.domain_of, minlength=len(pairs.domains))
    return PairsReport(
        pairs=len(pairs),
        hard_negatives=sum(map(len, pairs.negatives_of)),
        batch_size=int(batch_size),
        max_length=int(max_length),
        domains={pairs.domains[row]: int(counts[row]) for row in np.argsort(-counts, kind="stable")},
        queries=_lengths(pairs.queries, query_prompt, uncut, max_length),
        documents=_lengths(pairs.documents, document_prompt, uncut, max_length),
        findings=_findings(pairs),
    )


def check_enough(pairs: TrainingPairs, batch_size: int) -> None:
    """Refuse pairs that do not fill one batch, or leave nothing to tell apart.

    Raises:
        TrainingDataError: there are fewer distinct pairs than a batch has, or all have the same document or the same
            query.
        ConfigurationError: the batch size is impossible.
    """
    check_table(pairs)
    check_whole("batch_size", batch_size, 2)
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


def _lengths(texts: Sequence[str], prompt: str, uncut: TextTokenizer, max_length: int) -> Lengths:
    counts: list[int] = []
    for start, stop in text_windows(texts):
        counts += [len(row) for row in uncut.encode([prompt + text for text in texts[start:stop]])]
    cut = sum(count > max_length for count in counts)
    return Lengths(len(texts), sorted(counts)[(len(counts) - 1) // 2], max(counts), cut)


def _findings(pairs: TrainingPairs) -> dict[str, tuple[int, ...]]:
    sides = list(zip(pairs.query_of.tolist(), pairs.positive_of.tolist(), strict=True))
    known, first = set(sides), set(first_rows(pairs).tolist())
    queries, documents = ([plain(text) for text in texts] for texts in (pairs.queries, pairs.documents))
    found: dict[str, list[int]] = {name: [] for name in _FINDINGS}
    for row, (query, positive) in enumerate(sides):
        if row not in first:
            found["repeated"].append(row)
        if queries[query] == documents[positive]:
            found["equal"].append(row)
        if any((query, negative) in known for negative in pairs.negatives_of[row]):
            found["contradicting"].append(row)
    return {name: tuple(rows) for name, rows in found.items()}


def _counted(rows: tuple[int, ...]) -> str:
    if not rows:
        return "0"
    more = ", ..." if len(rows) > _ROWS_SHOWN else ""
    return f"{len(rows):,} (pair {', '.join(map(str, rows[:_ROWS_SHOWN]))}{more})"
