"""Hard negatives: documents of a pair's domain that score high for its query but are not known answers.

Axes: Q queries of a domain, D documents of it, C candidates per query, W width.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.training.data.pairs import Indices, TrainingPairs, check_table
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.numbers import check_whole

logger = logging.getLogger(__name__)

Strategy = Literal["top", "random"]
STRATEGIES: tuple[Strategy, ...] = ("top", "random")
_MORE_TO_CHOOSE_FROM = 10  # candidates per negative if rules may refuse some, as in sentence-transformers
_QUERIES_AT_ONCE = 4_096


@dataclass(frozen=True, kw_only=True)
class MiningRules:
    """The rules for hard negatives, named as in sentence-transformers' `mine_hard_negatives`.

    Scores are cosine similarities. Ranks start at 0 and count documents that pass the rules on scores. As there, only
    the best documents are looked at, as many as `range_max` and the known answers and negatives: where rules on scores
    refuse these, a greater `range_max` finds others.

    Attributes:
        num_negatives: per pair, at most.
        range_min: rank of the first candidate.
        range_max: rank after the last candidate; if None, as many candidates as negatives, or ten times as many if a
            rule on scores may refuse some or the choice is random.
        max_score: highest score of a negative.
        min_score: lowest score of a negative.
        absolute_margin: a negative scores at least this much less than the query's worst positive.
        relative_margin: the same margin, as a share of that positive's score.
        sampling_strategy: "top", or "random" among the candidates.

    Raises:
        ConfigurationError: the rules contradict each other.
    """

    num_negatives: int = 1
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling_strategy: Strategy = "top"

    def __post_init__(self) -> None:
        if self.sampling_strategy not in STRATEGIES:
            raise ConfigurationError(
                f"sampling_strategy {self.sampling_strategy!r} is unknown; use one of {', '.join(STRATEGIES)}"
            )
        check_whole("num_negatives", self.num_negatives, 1)
        check_whole("range_min", self.range_min, 0)
        if self.range_max is not None:
            check_whole("range_max", self.range_max, 1)
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise ConfigurationError(f"min_score={self.min_score} is above max_score={self.max_score}; swap them")
        if self.range_max is not None and self.range_max - self.range_min < self.num_negatives:
            raise ConfigurationError(
                f"ranks {self.range_min} to {self.range_max} are too few for {self.num_negatives} negatives; raise "
                f"range_max or lower range_min"
            )

    @property
    def window(self) -> int:
        """The rank after the last candidate."""
        if self.range_max is not None:
            return self.range_max
        picky = any(limit is not None for limit in (self.max_score, self.absolute_margin, self.relative_margin))
        more = _MORE_TO_CHOOSE_FROM if picky or self.sampling_strategy == "random" else 1
        return self.range_min + self.num_negatives * more

    def passes(self, scores: NDArray[np.float32], worst_positive: float) -> NDArray[np.bool_]:
        """The mask (C,) of scores that pass the rules, given the score of the query's worst positive."""
        highest = [np.inf if self.max_score is None else self.max_score]
        if self.absolute_margin is not None:
            highest.append(worst_positive - self.absolute_margin)
        if self.relative_margin is not None:
            highest.append(worst_positive - abs(worst_positive) * self.relative_margin)
        passed: NDArray[np.bool_] = scores <= min(highest)
        return passed if self.min_score is None else passed & (scores >= self.min_score)

    def choose(self, ranked: Indices, rng: Generator) -> Indices:
        """The negatives among documents that passed the rules on scores, best first."""
        window = ranked[self.range_min : self.window]
        if self.sampling_strategy == "random" and len(window) > self.num_negatives:
            window = window[np.sort(rng.choice(len(window), self.num_negatives, replace=False))]
        return window[: self.num_negatives]


def mine_hard_negatives(
    pairs: TrainingPairs,
    encoder: ContextualEncoder,
    *,
    num_negatives: int = 1,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    sampling_strategy: Strategy = "top",
    context_size: int | None = None,
    seed: int = 0,
    show_progress: bool | None = None,
) -> TrainingPairs:
    """The pairs with mined hard negatives added to their own (paper, section 5).

    Each query searches the positives and negatives of its domain, under a context fitted on them. Known answers to the
    query are never taken. The number of pairs with fewer negatives than `num_negatives` is logged.

    Args:
        pairs: to find negatives for.
        encoder: searches.
        num_negatives: this and the next seven are fields of `MiningRules`.
        range_min: see there.
        range_max: see there.
        max_score: see there.
        min_score: see there.
        absolute_margin: see there.
        relative_margin: see there.
        sampling_strategy: see there.
        context_size: documents of each context; the model's own number if None.
        seed: of the context documents and of random negatives.
        show_progress: show a bar; None for long work only.

    Raises:
        TrainingDataError: `pairs` is something else, such as rows that were not read yet.
        ConfigurationError: a setting is impossible, or the encoder is of another kind.
    """
    check_table(pairs)
    rules = MiningRules(
        num_negatives=num_negatives, range_min=range_min, range_max=range_max, max_score=max_score,
        min_score=min_score, absolute_margin=absolute_margin, relative_margin=relative_margin,
        sampling_strategy=sampling_strategy,
    )  # fmt: skip
    if not isinstance(encoder, Embedder):
        raise ConfigurationError(
            f"hard negatives are searched under a context, which {type(encoder).__name__} does not support; give a "
            f"ContextualEncoder, such as ContextualEncoder.from_biencoder('path/or/name')"
        )
    search = _Search(pairs, encoder, rules, context_size, seed)
    negatives, rng = list(pairs.negatives_of), np.random.default_rng(seed)
    short = 0
    with progress_bar(len(pairs), show_progress, "Mining hard negatives", "pair") as bar:
        for row, ranked in search.all_pairs():
            mined = rules.choose(ranked[~np.isin(ranked, negatives[row])], rng)
            negatives[row] = (*negatives[row], *mined.tolist())
            short += len(mined) < num_negatives
            bar.update()
    if short:
        logger.warning(
            "%d of %d pairs got fewer than %d hard negatives: of the best documents of their domains no more pass the "
            "rules; raise range_max, or loosen scores and margins, for more", short, len(pairs), num_negatives,
        )  # fmt: skip
    return replace(pairs, negatives_of=tuple(negatives))


@dataclass(frozen=True)
class _Search:
    pairs: TrainingPairs
    encoder: ContextualEncoder
    rules: MiningRules
    context_size: int | None
    seed: int

    def all_pairs(self) -> Iterator[tuple[int, Indices]]:
        """Every pair, domain by domain, with the documents that pass the rules on scores, best first."""
        for domain, name in enumerate(self.pairs.domains):
            rows = np.flatnonzero(self.pairs.domain_of == domain)
            try:
                ranked = self._domain(rows)
            except ContextTooSmallError as error:
                logger.warning("no hard negatives in domain %r: %s", name, error)
                ranked = {}
            nothing = np.empty(0, dtype=np.int64)
            yield from ((int(row), ranked.get(int(self.pairs.query_of[row]), nothing)) for row in rows)

    def _domain(self, rows: Indices) -> dict[int, Indices]:
        """The documents that pass the rules for each query of these pairs, as rows in `documents`, best first."""
        queries = np.unique(self.pairs.query_of[rows])
        given = [row for pair in rows for row in self.pairs.negatives_of[pair]]
        documents = np.unique(np.concatenate([self.pairs.positive_of[rows], np.asarray(given, dtype=np.int64)]))
        texts = [self.pairs.documents[row] for row in documents]
        context = self.encoder.fit_context(texts, self.context_size, seed=self.seed, show_progress=False)
        document_vectors = self.encoder.encode_documents(texts, context, False)
        query_vectors = self.encoder.encode_queries([self.pairs.queries[row] for row in queries], context, False)
        most_known = max(len(self.pairs.answers_of[query]) for query in queries)
        most_given = max(len(self.pairs.negatives_of[row]) for row in rows)
        depth = self.rules.window + most_known + most_given
        ranked: dict[int, Indices] = {}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            ranked |= self._ranked(queries[part], query_vectors[part], documents, document_vectors, depth)
        return ranked

    def _ranked(
        self,
        queries: Indices,
        query_vectors: NDArray[np.float32],
        documents: Indices,
        document_vectors: NDArray[np.float32],
        depth: int,
    ) -> dict[int, Indices]:
        """The result of `_domain` from vectors (Q, W) and (D, W), among the `depth` best documents of each query."""
        searched = [(0, document_vectors, np.ones(len(documents), dtype=np.bool_))]
        scores, found = exact_search(query_vectors, searched, depth)
        ranked = {}
        for place, query in enumerate(queries.tolist()):
            known = self.pairs.answers_of[query]
            here = np.searchsorted(documents, known[np.isin(known, documents)])
            positives = document_vectors[here] @ query_vectors[place]
            passes = self.rules.passes(scores[place], float(positives.min()))
            candidates = documents[found[place][passes]]
            ranked[query] = candidates[~np.isin(candidates, known)]
        return ranked
