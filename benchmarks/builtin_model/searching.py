"""A corpus embedded once by the bi-encoder, to be searched under any number of contexts of the closed form.

Axes: n documents, W width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.evaluation import Evaluation, RetrievalSet, evaluate, mean_difference, mean_over_sets
from cde_retrievers.fitting import context_of
from cde_retrievers.hits import Hits
from cde_retrievers.selection import select_documents
from cde_retrievers.unit_rows import unit_rows


@dataclass(frozen=True)
class Given:
    """A searcher whose vectors are there already."""

    name: str
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]

    def search(self, data: RetrievalSet, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        return Hits.of_vectors(self.documents, self.queries, depth)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A set, and the bi-encoder's vectors of its documents (n, W), not normalised."""

    data: RetrievalSet
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, data: RetrievalSet, encoder: ContextualEncoder, cache: Path | None = None) -> "Corpus":
        """Embed a set, or read from the folder `cache` what was embedded before."""
        file = cache / f"{data.name}-{encoder.first_stage_fingerprint()[:12]}.npy" if cache else None
        if file and file.is_file():
            return cls(data, np.load(file))
        vectors = encoder.biencoder_vectors(data.texts, encoder.config.document_prompt)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, vectors)
        return cls(data, vectors)

    def context(self, encoder: ContextualEncoder) -> CorpusContext:
        """What `encoder.fit_context` gives, without embedding anything."""
        known = dict(zip(self.data.texts, self.vectors, strict=True))
        chosen = select_documents(
            self.data.texts,
            encoder.config.context_size,
            "random",
            0,
            lambda sample: np.stack([known[text] for text in sample]),
        )
        return context_of(chosen, encoder.name, encoder.fingerprint, "random", 0)

    def plain(self, encoder: ContextualEncoder) -> Evaluation:
        """Searched by the bi-encoder alone."""
        queries = encoder.biencoder_vectors(self.data.judged.queries.values(), encoder.config.query_prompt, False)
        return evaluate(Given("MiniLM", unit_rows(self.vectors), unit_rows(queries)), self.data)

    def under(
        self, encoder: ContextualEncoder, context: CorpusContext, queries: NDArray[np.float32] | None = None
    ) -> Evaluation:
        """Searched under a context: documents through the closed form's map, queries by the encoder unless given."""
        whitening = encoder.model.second_stage.prepare(torch.from_numpy(context.vectors.copy()))
        documents = whitening(torch.from_numpy(unit_rows(self.vectors))).numpy()
        if queries is None:
            queries = encoder.encode_queries(self.data.judged.queries.values(), context, show_progress=False)
        return evaluate(Given(encoder.name, unit_rows(documents), unit_rows(queries)), self.data)

    def check(self, encoder: ContextualEncoder) -> None:
        """Raise AssertionError unless this is what the encoder does by itself."""
        alone = evaluate(encoder, self.data, show_progress=False)
        here = self.under(encoder, self.context(encoder))
        assert self.context(encoder).fingerprint == encoder.fit_context(self.data.texts).fingerprint
        np.testing.assert_allclose(here.values["ndcg@10"], alone.values["ndcg@10"], atol=1e-9)


def figures(found: list[Evaluation], before: list[Evaluation]) -> dict[str, Any]:
    """nDCG@10 of each set, their mean, and what it gains on `before`; to as many digits as no table rounds twice."""
    return {
        "ndcg@10": {each.data: round(each.mean().mean, 6) for each in found},
        "mean": round(mean_over_sets(found).mean, 6),
        "gain": {key: round(value, 6) for key, value in mean_difference(found, before).to_dict().items()},
    }
