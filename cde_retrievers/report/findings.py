"""What a report is about: figures, queries, and the documents of the context. Axes: D documents of the corpus."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from cde_retrievers.embedder import Embedder, fitted_context
from cde_retrievers.evaluation.comparison import Comparison
from cde_retrievers.evaluation.matrix import ContextMatrix
from cde_retrievers.evaluation.pictures.projection import Projection
from cde_retrievers.retrieval_set import RetrievalSet
from cde_retrievers.vectors import checked_embeddings, checked_width

_ON_MAP = 2_000  # documents besides those of the context: enough to see where the corpus lies


@dataclass(frozen=True, eq=False)
class MappedContext:
    """Which documents the own context of a corpus is made of, and where they lie among the others.

    Attributes:
        chosen: places of the context documents in the corpus, each once, in the order of the context.
        strategy: how they were chosen.
        seed: of the choice.
        projection: of the context documents, in that order, and of others after them.
    """

    chosen: tuple[int, ...]
    strategy: str
    seed: int
    projection: Projection

    @classmethod
    def of(cls, encoder: Embedder, data: RetrievalSet, show_progress: bool | None = None) -> Self:
        """Fit the corpus' own context as `Own()` does, and embed its documents and at most 2,000 others under it.

        Args:
            encoder: the model.
            data: of D documents.
            show_progress: True or False, or None for a bar only where the work is long.
        """
        context = fitted_context(encoder, data.texts, show_progress=False)
        chosen = tuple(dict.fromkeys(context.positions))
        others = np.setdiff1d(np.arange(len(data.texts)), chosen)
        drawn = np.random.default_rng(0).permutation(others)[:_ON_MAP]
        shown = [data.texts[place] for place in (*chosen, *drawn)]
        answer = encoder.encode_documents(shown, context, show_progress)
        embeddings = checked_embeddings(answer, len(shown), checked_width(encoder.width))
        return cls(chosen, context.strategy, context.seed, Projection.of(embeddings))


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a page shows.

    Attributes:
        data: what was searched.
        comparison: of a model under several contexts, on `data`.
        context: the own one.
        matrix: of several corpora by several contexts, if there is one.
    """

    data: RetrievalSet
    comparison: Comparison
    context: MappedContext
    matrix: ContextMatrix | None = None
