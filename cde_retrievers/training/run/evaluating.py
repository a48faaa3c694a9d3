"""nDCG@10 of a model on judged corpora, each under a context of its own documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cde_retrievers.corpora import Corpus, Reading, judged_queries
from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.index.exact import exact_search
from cde_retrievers.judged import DEPTH, JudgedQueries
from cde_retrievers.training.optional import require


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A corpus and queries whose answers in it are known.

    Attributes:
        name: for the metric.
        ids: of the documents.
        texts: of the documents, parallel to `ids`.
        judged: the queries.
    """

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    judged: JudgedQueries

    @classmethod
    def read(cls, folder: str | Path, split: str = "test") -> "EvaluationSet":
        """A BEIR folder.

        Raises:
            CorpusFileError: a file is missing or not as it should be.
            TrainingDataError: it has fewer than two documents, too few for a context.
            MissingDependencyError: ir-measures is not installed; names the extra.
        """
        require("ir_measures", "evaluation during training", extra="eval")
        documents = list(Corpus(folder, Reading(ids_as_text=True)))  # as judgements have them
        if len({document.text for document in documents}) < 2:
            raise TrainingDataError(f"{folder} has fewer than two different documents, too few to evaluate on")
        ids = tuple(str(document.id) for document in documents)
        texts = tuple(document.text for document in documents)
        return cls(Path(folder).name, ids, texts, judged_queries(folder, set(ids), split))

    def ndcg_at_10(self, encoder: ContextualEncoder) -> float:
        """Mean over the queries, by exact search over all documents."""
        context = encoder.fit_context(self.texts, show_progress=False)
        documents = encoder.encode_documents(self.texts, context, show_progress=False)
        queries = encoder.encode_queries(self.judged.queries.values(), context, show_progress=False)
        everything = np.ones(len(documents), dtype=np.bool_)
        scores, rows = exact_search(queries, [(0, documents, everything)], DEPTH)
        run = {
            query: {self.ids[row]: float(score) for row, score in zip(found, of, strict=True)}
            for query, found, of in zip(self.judged.queries, rows, scores, strict=True)
        }
        return self.judged.ndcg_at_10(run)


def evaluate(encoder: ContextualEncoder, sets: Sequence[EvaluationSet]) -> dict[str, float]:
    """`ndcg@10`, the mean over the sets; and `NAME_ndcg@10` of each where there are several."""
    scores = {each.name: each.ndcg_at_10(encoder) for each in sets}
    named = {f"{name}_ndcg@10": score for name, score in scores.items()} if len(scores) > 1 else {}
    return {"ndcg@10": sum(scores.values()) / len(scores), **named}
