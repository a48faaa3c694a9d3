"""Hard negatives: documents of a pair's own domain that score high for its query and are not known to answer it.

Axes: Q queries of a domain, D documents of it, C candidates per query, W width.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.embedder import Embedder
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.index.exact import exact_search
from cde_retrievers.progress import progress_bar
from cde_retrievers.training.batches.mining_rules import MiningRules, Strategy
from cde_retrievers.training.pairs.pairs import Indices, TrainingPairs, check_table

logger = logging.getLogger(__name__)

_QUERIES_AT_ONCE = 4_096


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
    """The pairs with hard negatives added behind those they have (paper, section 5).

    Each query is searched among the positives and negatives of its own domain, under a context fitted on these.
    Documents known as an answer to it, from whichever pair, are never taken. How many pairs got fewer than asked for is
    logged. Names of the settings are those of sentence-transformers; `MiningRules` says what each means.

    Args:
        pairs: what to search for.
        encoder: what to search with.
        num_negatives: mined per pair, at most.
        range_min: rank of the first that may be taken.
        range_max: rank behind the last that may be taken.
        max_score: what scores higher is not taken.
        min_score: what scores lower is not taken.
        absolute_margin: what scores less than this below the positive is not taken.
        relative_margin: the same, as a share of the positive's score.
        sampling_strategy: "top" or "random".
        context_size: documents of each context; the model's own number if None.
        seed: of the choice of context documents and of random negatives.
        show_progress: True or False, or None for a bar only where the work is long.

    Raises:
        TrainingDataError: the pairs are something else, such as rows that were not read yet.
        ConfigurationError: a setting is impossible, or the encoder is none.
    """
    check_table(pairs)
    rules = MiningRules(
        num_negatives=num_negatives, range_min=range_min, range_max=range_max, max_score=max_score,
        min_score=min_score, absolute_margin=absolute_margin, relative_margin=relative_margin,
        sampling_strategy=sampling_strategy,
    )  # fmt: skip
    if not isinstance(encoder, Embedder):
        raise ConfigurationError(
            f"hard negatives are searched for under a context, which {type(encoder).__name__} knows nothing of; give a "
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
            "%d of %d pairs got fewer than %d hard negatives: their domains have no more documents that the rules let "
            "pass; loosen scores, margins and ranks for more", short, len(pairs), num_negatives,
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
        """Every pair, domain by domain, with the documents that may be its negatives, best first."""
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
        """For each query of these pairs what may be its negatives: rows in `documents`, best first."""
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
        """As `_domain`, from vectors (Q, W) and (D, W), among the `depth` best documents of each query."""
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
