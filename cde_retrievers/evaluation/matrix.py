"""Every corpus under every other one's context: does it matter whose it is? Axes: S sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.contexts import FittedContext, ForeignContext, OwnContext
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import evaluation_of
from cde_retrievers.evaluation.metrics import MAIN
from cde_retrievers.evaluation.precomputed import embedded_once
from cde_retrievers.evaluation.results import Evaluation
from cde_retrievers.evaluation.searchers import Contextual, without_context
from cde_retrievers.util.imports import require
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.signatures import validated


@dataclass(frozen=True, eq=False)
class ContextMatrix:
    """Evaluations by corpus (row) and by the corpus that the context is of (column).

    Attributes:
        names: of the S sets.
        evaluations: S rows of S.
        without: of every set without a context.
    """

    names: tuple[str, ...]
    evaluations: tuple[tuple[Evaluation, ...], ...]
    without: tuple[Evaluation, ...]

    def gains(self, measure: str = MAIN) -> NDArray[np.float64]:
        """Return the gain of each context over none (S, S), in points."""
        rows = zip(self.evaluations, self.without, strict=True)
        return 100 * np.array([[cell.differences(none, measure).mean() for cell in row] for row, none in rows])

    def own_wins(self, measure: str = MAIN) -> list[str]:
        """Return the sets on which the own context is better than the mean of the foreign ones."""
        gains = self.gains(measure)
        own, foreign = np.diag(gains), (gains.sum(axis=1) - np.diag(gains)) / (len(gains) - 1)
        return [name for name, better in zip(self.names, own > foreign, strict=True) if better]


@validated
def context_matrix(
    encoder: ContextualEncoder, sets: Sequence[RetrievalDataset], show_progress: bool | None = None
) -> ContextMatrix:
    """Search every set under its own and every other one's context (paper, figure 7): S * (S + 1) evaluations.

    Under the closed form each corpus is embedded once, and its context documents once more; other models embed it again
    under every context.

    Args:
        encoder: the model.
        sets: S of them, at least two.
        show_progress: show a bar; None for long work only.

    Raises:
        MissingDependencyError: ir_measures is not installed; names the extra.
        ConfigurationError: there are fewer than two sets.
        EvaluationDataError: a set has no answers.
    """
    require("ir_measures", "evaluation", extra="eval")
    if len(sets) < 2:
        raise ConfigurationError(f"a matrix compares at least two sets, found {len(sets)}; use evaluate() for one")
    for data in sets:
        data.check_judged()
    contexts = [encoder.fit_context(data.texts, show_progress=False) for data in sets]
    rows, plain = [], []
    with progress_bar(len(sets) * (len(sets) + 1), show_progress, "Contexts", "evaluation") as bar:
        for data in sets:
            embedder = embedded_once(encoder, data, show_progress=False)
            plain.append(evaluation_of(without_context(embedder), data, show_progress=False))
            bar.update()
            row = []
            for other, context in zip(sets, contexts, strict=True):
                source = FittedContext(context, (OwnContext() if other is data else ForeignContext(other)).label)
                row.append(evaluation_of(Contextual(embedder, source), data, show_progress=False))
                bar.update()
            rows.append(tuple(row))
    return ContextMatrix(tuple(data.name for data in sets), tuple(rows), tuple(plain))
