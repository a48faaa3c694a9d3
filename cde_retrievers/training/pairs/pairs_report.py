"""What a look at pairs before training says, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_DOMAINS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the distinct texts of one role are, in tokens, prompt and special tokens included.

    Attributes:
        role: "queries" or "documents".
        texts: how many there are.
        median: half of them are no longer.
        most: 95 % of them are no longer.
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

    @property
    def cut_text(self) -> str:
        """How many will be cut, in words."""
        if not self.cut:
            return f"no {self.role}"
        return f"{self.cut:,} {self.role} ({self.cut / self.texts:.1%}), which loses {self.lost:.1%} of their tokens"

    def __str__(self) -> str:
        return f"median {self.median:,}, 95 % at most {self.most:,}, longest {self.longest:,}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at.

    Attributes:
        count: how often it is.
        first: the first few pairs, by their place, where it is.
    """

    count: int
    first: tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count:,} (pair {', '.join(map(str, self.first))}{more})" if self.count else "0"


@dataclass(frozen=True, slots=True)
class Findings:
    """What of the pairs is worth a look; none of it keeps them from being trained on.

    Attributes:
        repeated: pairs that stand further up already; of these only the hard negatives are used.
        several_positives: distinct queries with more than one positive.
        several_queries: distinct documents that are the positive of more than one query.
        equal: pairs whose query is the document, but for case and spaces.
        contradicting: pairs with a hard negative that another pair gives as a positive of the same query.
    """

    repeated: Finding
    several_positives: Finding
    several_queries: Finding
    equal: Finding
    contradicting: Finding

    def __str__(self) -> str:
        return "\n".join(
            (
                f"pairs that come again: {self.repeated}",
                f"queries with several positives: {self.several_positives}",
                f"documents of several queries: {self.several_queries}",
                f"pairs whose query is the document: {self.equal}",
                f"pairs with a hard negative that is a positive of the query elsewhere: {self.contradicting}",
            )
        )


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
        findings: duplicates and the like.
    """

    pairs: int
    hard_negatives: int
    batch_size: int
    max_length: int
    domains: Mapping[str, int]
    queries: Lengths
    documents: Lengths
    findings: Findings

    @property
    def batches(self) -> int:
        """Whole ones that an epoch has, in which pairs that come again count once."""
        return (self.pairs - self.findings.repeated.count) // self.batch_size

    @property
    def small_domains(self) -> dict[str, int]:
        """Pairs of the domains that do not fill a batch, and so share batches with others."""
        return {name: count for name, count in self.domains.items() if count < self.batch_size}

    def to_dict(self) -> dict[str, Any]:
        """Everything in it, of types that JSON has."""
        return {**asdict(self), "batches": self.batches, "small_domains": self.small_domains}

    def __str__(self) -> str:
        negatives = f"{self.hard_negatives:,}" if self.hard_negatives else "no"
        return "\n".join(
            (
                f"{self.pairs:,} pairs: {self.queries.texts:,} distinct queries, {self.documents.texts:,} distinct "
                f"documents, {negatives} hard negatives",
                f"batches of {self.batch_size:,}: {self.batches:,} an epoch",
                *self._domain_lines(),
                f"tokens of queries: {self.queries}",
                f"tokens of documents: {self.documents}",
                f"cut at {self.max_length:,} tokens: {self.queries.cut_text}; {self.documents.cut_text}",
                str(self.findings),
            )
        )

    def _domain_lines(self) -> list[str]:
        small = len(self.small_domains)
        shared = f"; {small:,} of them smaller than a batch, which share batches with others" if small else ""
        counts = list(self.domains.items())
        lines = [f"domains: {len(counts):,}{shared}"]
        lines += [f"{count:>9,}  {name or '(no name)'}" for name, count in counts[:_DOMAINS_SHOWN]]
        rest = counts[_DOMAINS_SHOWN:]
        return [*lines, f"{sum(count for _, count in rest):>9,}  in {len(rest):,} more"] if rest else lines
