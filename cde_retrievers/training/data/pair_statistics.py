"""A look at pairs before training: how many, how long, how often the same, and whether they suffice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cde_retrievers.corpora.pseudo_queries import plain
from cde_retrievers.encoder.batching import text_windows
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.data.pairs import Indices, TrainingPairs, check_table, first_rows

_UNCUT = 2**31 - 1
_ROWS_SHOWN, _DOMAINS_SHOWN = 5, 8
# What is worth a look; none of it keeps pairs from being trained on.
_FINDINGS = {
    "repeated": "pairs that come again",
    "several_positives": "queries with several positives",
    "several_queries": "documents of several queries",
    "equal": "pairs whose query is the document",
    "contradicting": "pairs with a hard negative that is a positive of the query elsewhere",
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the distinct texts of one role, prompt and special tokens included.

    Attributes:
        role: "queries" or "documents".
        texts: how many there are.
        median: half of them are at most this long.
        most: 95 % of them are at most this long.
        longest: of all.
        cut: how many are longer than the model reads.
        lost: share of all tokens that the model does not read for that, from 0 to 1.
    """

    role: str
    texts: int
    median: int
    most: int
    longest: int
    cut: int
    lost: float

    def __str__(self) -> str:
        return f"median {self.median:,}, 95 % at most {self.most:,}, longest {self.longest:,}"

    @property
    def cut_text(self) -> str:
        """The number of texts that will be cut, in words."""
        if not self.cut:
            return f"no {self.role}"
        return f"{self.cut:,} {self.role} ({self.cut / self.texts:.1%}), which loses {self.lost:.1%} of their tokens"


@dataclass(frozen=True, slots=True)
class Finding:
    """The count of a finding, and the places of the first few pairs that have it."""

    count: int
    first: tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count:,} (pair {', '.join(map(str, self.first))}{more})" if self.count else "0"


@dataclass(frozen=True, slots=True)
class PairsReport:
    """Pairs to train on, measured.

    Attributes:
        pairs: how many.
        hard_negatives: in all, over the pairs.
        batch_size: pairs of a batch.
        max_length: tokens of a text that the model reads.
        domains: pairs by domain, the largest first.
        queries: lengths of the distinct queries.
        documents: lengths of the distinct documents, hard negatives included.
        findings: "repeated" (pairs that stand further up already; only their hard negatives are used),
            "several_positives", "several_queries", "equal" (pairs whose query is the document, but for case and
            spaces) and "contradicting" (pairs with a hard negative that another gives as a positive of the query).
    """

    pairs: int
    hard_negatives: int
    batch_size: int
    max_length: int
    domains: Mapping[str, int]
    queries: Lengths
    documents: Lengths
    findings: Mapping[str, Finding]

    @property
    def batches(self) -> int:
        """Whole ones that an epoch has, in which pairs that come again count once."""
        return (self.pairs - self.findings["repeated"].count) // self.batch_size

    @property
    def small_domains(self) -> dict[str, int]:
        """Pairs of the domains that do not fill a batch, and so share batches with others."""
        return {name: count for name, count in self.domains.items() if count < self.batch_size}

    def to_dict(self) -> dict[str, Any]:
        """Everything in it, of types that JSON has."""
        return {**asdict(self), "batches": self.batches, "small_domains": self.small_domains}

    def __str__(self) -> str:
        small, counts = len(self.small_domains), list(self.domains.items())
        shared = f"; {small:,} of them smaller than a batch, which share batches with others" if small else ""
        rest = counts[_DOMAINS_SHOWN:]
        lines = (
            f"{self.pairs:,} pairs: {self.queries.texts:,} distinct queries, {self.documents.texts:,} distinct "
            f"documents, {f'{self.hard_negatives:,}' if self.hard_negatives else 'no'} hard negatives",
            f"batches of {self.batch_size:,}: {self.batches:,} an epoch",
            f"domains: {len(counts):,}{shared}",
            *(f"{count:>9,}  {name or '(no name)'}" for name, count in counts[:_DOMAINS_SHOWN]),
            *([f"{sum(count for _, count in rest):>9,}  in {len(rest):,} more"] if rest else []),
            f"tokens of queries: {self.queries}",
            f"tokens of documents: {self.documents}",
            f"cut at {self.max_length:,} tokens: {self.queries.cut_text}; {self.documents.cut_text}",
            *(f"{_FINDINGS[name]}: {found}" for name, found in self.findings.items()),
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
    """Measure the pairs as a model of this tokenizer would read them.

    Args:
        pairs: to train on.
        tokenizer: of the `tokenizers` package, one of transformers' that is backed by it, or a `TextTokenizer`.
        max_length: tokens that the model reads of a text, special tokens and prompt included.
        batch_size: pairs of a batch.
        query_prompt: put before every query.
        document_prompt: put before every document.

    Raises:
        TrainingDataError: the pairs are something else, such as rows that were not read yet.
        ConfigurationError: batch size or length is impossible.
        CheckpointError: the tokenizer is of another kind.
    """
    check_table(pairs)
    _check_batch_size(batch_size)
    if not isinstance(max_length, int) or max_length < 1:
        raise ConfigurationError(f"max_length must be a whole number above 0, found {max_length!r}")
    uncut = TextTokenizer(tokenizer, _UNCUT, 0)
    counts = np.bincount(pairs.domain_of, minlength=len(pairs.domains))
    return PairsReport(
        pairs=len(pairs),
        hard_negatives=sum(map(len, pairs.negatives_of)),
        batch_size=batch_size,
        max_length=max_length,
        domains={pairs.domains[row]: int(counts[row]) for row in np.argsort(-counts, kind="stable")},
        queries=_lengths("queries", pairs.queries, query_prompt, uncut, max_length),
        documents=_lengths("documents", pairs.documents, document_prompt, uncut, max_length),
        findings={name: Finding(len(rows), tuple(rows[:_ROWS_SHOWN].tolist())) for name, rows in _found(pairs).items()},
    )


def check_enough(pairs: TrainingPairs, batch_size: int) -> None:
    """Refuse pairs that do not fill one batch, or have nothing to tell apart.

    Raises:
        TrainingDataError: there are fewer distinct pairs than a batch has, or all have the same document or the same
            query.
        ConfigurationError: the batch size is impossible.
    """
    check_table(pairs)
    _check_batch_size(batch_size)
    if len(pairs) < batch_size:
        raise TrainingDataError(
            f"there are {len(pairs):,} pairs, which is not one batch of {batch_size:,}; give more, or a smaller batch"
        )
    alone = not any(pairs.negatives_of)
    if alone and len(np.unique(pairs.positive_of)) == 1:
        raise TrainingDataError(
            "all pairs have the same document, so there is nothing to tell it apart from; give more"
        )
    if alone and len(np.unique(pairs.query_of)) == 1:
        raise TrainingDataError(
            "all pairs have the same query, which every document answers, so there is nothing to tell apart; give "
            "other queries, or negatives"
        )
    distinct = len(first_rows(pairs))
    if distinct < batch_size:
        raise TrainingDataError(
            f"there are {len(pairs):,} pairs, but {distinct:,} distinct ones, which is not one batch of "
            f"{batch_size:,}; give more, or a smaller batch"
        )


def _check_batch_size(batch_size: int) -> None:
    if not isinstance(batch_size, int) or batch_size < 2:
        raise ConfigurationError(
            f"batch_size must be a whole number above 1, since other pairs of a batch are the negatives; found "
            f"{batch_size!r}"
        )


def _lengths(role: str, texts: Sequence[str], prompt: str, uncut: TextTokenizer, max_length: int) -> Lengths:
    counts: list[int] = []
    for start, stop in text_windows(texts):
        counts += [len(row) for row in uncut.encode([prompt + text for text in texts[start:stop]])]
    tokens = np.asarray(counts)
    # Whole numbers that texts have: nothing between two of them.
    median, most = np.percentile(tokens, [50, 95], method="inverted_cdf")
    lost = np.maximum(tokens - max_length, 0).sum() / tokens.sum()
    cut = int((tokens > max_length).sum())
    return Lengths(role, len(texts), int(median), int(most), int(tokens.max()), cut, float(lost))


def _found(pairs: TrainingPairs) -> dict[str, Indices]:
    """The pairs where each of `_FINDINGS` is found, by their place."""
    sides = list(zip(pairs.query_of.tolist(), pairs.positive_of.tolist(), strict=True))
    known = set(sides)
    queries, documents = ([plain(text) for text in texts] for texts in (pairs.queries, pairs.documents))
    equal = [queries[query] == documents[positive] for query, positive in sides]
    contradicting = [
        any((query, row) in known for row in negatives)
        for (query, _), negatives in zip(sides, pairs.negatives_of, strict=True)
    ]
    return {
        "repeated": np.setdiff1d(np.arange(len(pairs)), first_rows(pairs)),
        "several_positives": _several(pairs.query_of, pairs.positive_of),
        "several_queries": _several(pairs.positive_of, pairs.query_of),
        "equal": np.flatnonzero(equal),
        "contradicting": np.flatnonzero(contradicting),
    }


def _several(one: Indices, other: Indices) -> Indices:
    """The first row of every value in `one` that is paired with different values in `other`; in order."""
    distinct = np.unique(np.stack([one, other]), axis=1)
    values, first = np.unique(one, return_index=True)
    return np.sort(first[np.bincount(distinct[0], minlength=values[-1] + 1)[values] > 1])
