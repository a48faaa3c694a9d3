"""A look at pairs before training: how many, how long, how often the same, and whether they suffice."""

from collections.abc import Sequence

import numpy as np

from cde_retrievers.batches import text_windows
from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.text import TextTokenizer
from cde_retrievers.training.pairs.beginnings import plain
from cde_retrievers.training.pairs.pairs import Indices, TrainingPairs, check_table
from cde_retrievers.training.pairs.pairs_report import Finding, Findings, Lengths, PairsReport
from cde_retrievers.training.pairs.repeated import first_rows

_UNCUT = 2**31 - 1
_ROWS_SHOWN = 5


def report_on(
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
    return PairsReport(
        pairs=len(pairs),
        hard_negatives=sum(map(len, pairs.negatives_of)),
        batch_size=batch_size,
        max_length=max_length,
        domains=_domain_sizes(pairs),
        queries=_lengths("queries", pairs.queries, query_prompt, uncut, max_length),
        documents=_lengths("documents", pairs.documents, document_prompt, uncut, max_length),
        findings=_findings(pairs),
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
        raise TrainingDataError("all pairs have the same document, so no query has anything to tell it from; give more")
    if alone and len(np.unique(pairs.query_of)) == 1:
        raise TrainingDataError(
            "all pairs have the same query, which all of the documents answer, so there is nothing to tell apart; give "
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


def _domain_sizes(pairs: TrainingPairs) -> dict[str, int]:
    """Pairs by domain, the largest first."""
    counts = np.bincount(pairs.domain_of, minlength=len(pairs.domains))
    return {pairs.domains[row]: int(counts[row]) for row in np.argsort(-counts, kind="stable")}


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


def _findings(pairs: TrainingPairs) -> Findings:
    return Findings(
        repeated=_finding(_repeated(pairs)),
        several_positives=_finding(_several(pairs.query_of, pairs.positive_of)),
        several_queries=_finding(_several(pairs.positive_of, pairs.query_of)),
        equal=_finding(_equal(pairs)),
        contradicting=_finding(_contradicting(pairs)),
    )


def _finding(rows: Indices) -> Finding:
    return Finding(len(rows), tuple(int(row) for row in rows[:_ROWS_SHOWN]))


def _repeated(pairs: TrainingPairs) -> Indices:
    """Rows of pairs whose query and positive stand further up already."""
    return np.setdiff1d(np.arange(len(pairs)), first_rows(pairs))


def _several(one: Indices, other: Indices) -> Indices:
    """Of every value in `one` that stands beside different values in `other`, the first row; in order."""
    distinct = np.unique(np.stack([one, other]), axis=1)
    values, first = np.unique(one, return_index=True)
    return np.sort(first[np.bincount(distinct[0], minlength=values[-1] + 1)[values] > 1])


def _equal(pairs: TrainingPairs) -> Indices:
    queries = [plain(text) for text in pairs.queries]
    documents = [plain(text) for text in pairs.documents]
    sides = zip(pairs.query_of, pairs.positive_of, strict=True)
    return np.flatnonzero([queries[query] == documents[positive] for query, positive in sides])


def _contradicting(pairs: TrainingPairs) -> Indices:
    positives = set(zip(pairs.query_of.tolist(), pairs.positive_of.tolist(), strict=True))
    sides = zip(pairs.query_of.tolist(), pairs.negatives_of, strict=True)
    return np.flatnonzero([any((query, row) in positives for row in negatives) for query, negatives in sides])
