"""A small set, and findings on it with figures that a test chooses."""

import numpy as np

from cde_retrievers.evaluation import Comparison, ContextMatrix, Evaluation, RetrievalDataset
from cde_retrievers.evaluation.comparison import Row
from cde_retrievers.evaluation.metrics import MEASURES
from cde_retrievers.evaluation.pictures import Projection
from cde_retrievers.report.findings import Findings, MappedContext

DOCUMENTS = {f"d{place}": f"the text of document {place}" for place in range(30)}


def searched(queries: int = 26, **changed: object) -> RetrievalDataset:
    """Query i asks for document i."""
    texts = {f"q{place}": f"question {place}" for place in range(queries)}
    return RetrievalDataset.of(texts, DOCUMENTS, {f"q{place}": {f"d{place}"} for place in range(queries)}, name="small")


def evaluated(data: RetrievalDataset, ndcg: list[float], best: list[tuple[str, ...]] | None = None) -> Evaluation:
    values = {name: np.full(len(ndcg), 0.9 - place / 10) for place, name in enumerate(MEASURES)}
    values["ndcg@10"] = np.array(ndcg)
    found = tuple(best) if best else tuple((f"d{place}",) for place in range(len(ndcg)))
    return Evaluation("searcher", data.name, len(data.texts), tuple(data.judged.queries), values, found)


def compared(data: RetrievalDataset, own: Evaluation, without: Evaluation, label: str = "BM25") -> Comparison:
    rows = [Row("own context", "context", own), Row("no context (null vector)", "context", without)]
    return Comparison("tiny", (*rows, Row(label, "other", without)))


def findings(
    data: RetrievalDataset,
    comparison: Comparison,
    chosen: tuple[int, ...] = (4, 2),
    matrix: ContextMatrix | None = None,
) -> Findings:
    points = np.random.default_rng(0).normal(size=(len(data.texts), 3)).astype(np.float32)
    return Findings(data, comparison, MappedContext(chosen, "kmeans", 7, Projection.of(points)), matrix)
