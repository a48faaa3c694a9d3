r"""Contextual hybrid search on the evaluation sets, beside what people build today, and taken apart.

    python benchmarks/builtin_model/evaluate_hybrid.py --data ../shared/data \
        --output benchmarks/results/hybrid.json
    python benchmarks/builtin_model/evaluate_hybrid.py --table benchmarks/results/hybrid.json

Exact search over all documents of each set, its test queries, texts cut at 256 tokens, one context of 512 random
documents. All settings are the library's; they were chosen on training sets (`choose_hybrid.py`) and nothing by these
figures. RRF is reciprocal rank fusion (k = 60) of MiniLM and BM25 by the same analyzer, under no context but the
words' statistics. A foreign context is that of another of the seven sets; its figures are means over all six.
"""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from command_line import options, write_and_show
from in_points import cells, interval
from sets import EVALUATION, SEVEN

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.encoder.lexical import LexicalEmbedder
from cde_retrievers.encoder.query_side import QuerySideEmbedder
from cde_retrievers.evaluation import (
    BiEncoder,
    Contextual,
    Evaluation,
    Interval,
    ReciprocalRankFusion,
    RetrievalDataset,
    Searcher,
    evaluate,
    mean_difference,
    mean_over_sets,
)
from cde_retrievers.evaluation.encoded import DenseView, EncodedDataset, LexicalView
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.sparse import Analyzer, TermStatistics

WIDTHS = (128, 256, 384, 768, 1536)
SIZES = (16, 32, 64, 128, 256, 512, 1024)
ROWS = {
    "plain": "MiniLM",
    "minilm": "MiniLM under the context",
    "bm25": "BM25, statistics of the context",
    "bm25 whole": "BM25, statistics of the whole corpus",
    "rrf": "RRF of MiniLM and BM25",
    "rrf whitened": "RRF of MiniLM under the context and BM25",
    "hybrid plain": "hybrid with MiniLM not under the context",
    "hybrid": "hybrid (the library's search)",
    "hybrid whole": "hybrid, word statistics of the whole corpus",
    "generic": "hybrid, generic context",
    "generic words": "hybrid, word statistics of the generic context",
    "query side": "MiniLM's own vectors of documents, queries under the context",
    **{f"width {width}": f"one vector with a lexical part of {width}" for width in WIDTHS},
}
GAINS = (("hybrid", "plain"), ("hybrid", "rrf"), ("hybrid", "minilm"), ("hybrid", "bm25"), ("hybrid", "hybrid plain"))
Found = dict[str, list[Evaluation]]


@dataclass(frozen=True, eq=False)
class Views:
    """Search by given views of a set.

    Attributes:
        encoded: the views.
        name: its name in tables.
    """

    encoded: EncodedDataset
    name: str = "views"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        return self.encoded.hits(depth)


class EvaluationSet:
    """A set with its plain vectors, to be searched in many ways.

    Args:
        encoder: the built-in model.
        data: the set.
    """

    def __init__(self, encoder: ContextualEncoder, data: RetrievalDataset) -> None:
        self.data = data
        self._embedder = PrecomputedEmbedder(encoder, data)
        self.own = self.context()

    def context(self, size: int | None = None) -> CorpusContext:
        """Fit a context on the set."""
        return self._embedder.fit_context(self.data.texts, size)

    @cached_property
    def plain(self) -> DenseView | None:
        """The bi-encoder's vectors."""
        return BiEncoder(self._embedder).encoded(self.data, ["dense"]).dense

    def dense(self, context: CorpusContext) -> DenseView:
        """Vectors under a context."""
        return DenseView.of(self._embedder, self.data, context, False)

    def words(self, statistics: TermStatistics) -> LexicalView:
        """Words by given statistics."""
        return LexicalView.of(self.data, statistics)

    def hybrid(self, context: CorpusContext) -> Views:
        """Both views under a context."""
        return Views(EncodedDataset(self.dense(context), self.words(context.term_statistics())))

    def searchers(self, generic: CorpusContext) -> dict[str, Searcher]:
        """Every row of the ablation."""
        whole = self.words(TermStatistics.of(self.data.texts, Analyzer()))
        dense, words = self.dense(self.own), self.words(self.own.term_statistics())
        plain, whitened = Views(EncodedDataset(self.plain, None)), Views(EncodedDataset(dense, None))
        bm25 = Views(EncodedDataset(None, words))
        return {
            "plain": plain,
            "minilm": whitened,
            "bm25": bm25,
            "bm25 whole": Views(EncodedDataset(None, whole)),
            "rrf": ReciprocalRankFusion(plain, bm25),
            "rrf whitened": ReciprocalRankFusion(whitened, bm25),
            "hybrid plain": Views(EncodedDataset(self.plain, words)),
            "hybrid": Views(EncodedDataset(dense, words)),
            "hybrid whole": Views(EncodedDataset(dense, whole)),
            "generic": self.hybrid(generic),
            "generic words": Views(EncodedDataset(dense, self.words(generic.term_statistics()))),
            "query side": Contextual(QuerySideEmbedder(self._embedder)),
            **{f"width {width}": Contextual(LexicalEmbedder(self._embedder, width)) for width in WIDTHS},
        }


def run(data: Path, output: Path) -> dict[str, Any]:
    """Search everything in every way."""
    encoder = ContextualEncoder.from_pretrained("minilm")
    generic = encoder.generic_context()
    sets = [EvaluationSet(encoder, RetrievalDataset.read(data / name)) for name in EVALUATION]
    found: Found = {row: [] for row in ROWS}
    for each in sets:
        for row, searcher in each.searchers(generic).items():
            found[row].append(evaluate(searcher, each.data))
    seven = sets[: len(SEVEN)]
    sizes = {str(size): [evaluate(each.hybrid(each.context(size)), each.data) for each in seven] for size in SIZES}
    return {
        "command": f"python benchmarks/builtin_model/evaluate_hybrid.py --data ../shared/data --output {output}",
        "conditioning": encoder.config.to_dict()["conditioning"],
        "words": {"k1": generic.term_statistics().k1, "b": generic.term_statistics().b},
        "dtype": str(encoder.dtype),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers", "numpy", "scipy", "PyStemmer")},
        "sets": [_set(found, place) for place in range(len(sets))],
        "mean_of_seven": {row: _rounded(mean_over_sets(each[: len(SEVEN)])) for row, each in found.items()},
        "gain_of_seven": {f"{row} over {other}": _rounded(_gain(found, row, other)) for row, other in GAINS},
        "foreign": dict(zip(("both", "words"), np.mean(list(_foreign(seven)), axis=0).round(4).tolist(), strict=True)),
        "sizes": {size: _rounded(mean_over_sets(each)) for size, each in sizes.items()},
    }


def _gain(found: Found, row: str, other: str) -> Interval:
    return mean_difference(found[row][: len(SEVEN)], found[other][: len(SEVEN)])


def _foreign(sets: Sequence[EvaluationSet]) -> Iterator[tuple[float, float]]:
    """Yield nDCG@10 under each foreign context of each set: of both views, and of the words alone under it."""
    for each in sets:
        dense = each.dense(each.own)
        for other in sets:
            if other is not each:
                words = Views(EncodedDataset(dense, each.words(other.own.term_statistics())))
                yield tuple(evaluate(way, each.data).mean().mean for way in (each.hybrid(other.own), words))


def _set(found: Found, place: int) -> dict[str, Any]:
    one = {row: evaluations[place] for row, evaluations in found.items()}
    return {
        "set": one["plain"].data,
        "documents": one["plain"].documents,
        "queries": len(one["plain"].queries),
        "ndcg@10": {row: round(each.mean().mean, 5) for row, each in one.items()},
        "gain": {f"{row} over {other}": _rounded(one[row].minus(one[other])) for row, other in GAINS},
    }


def _rounded(found: Interval) -> dict[str, float]:
    return {name: round(value, 5) for name, value in found.to_dict().items()}


def table(result: dict[str, Any]) -> str:
    """NDCG@10 of every set in points, the largest gain first; the ablation; the size of the context."""
    return "\n\n".join((gains_table(result), _ablation(result), _sizes(result)))


def gains_table(result: dict[str, Any]) -> str:
    """NDCG@10 of every set in points, the largest gain first."""
    shown = ("bm25", "plain", "minilm", "rrf", "hybrid")
    lines = ["| set | documents | queries | BM25 | MiniLM | MiniLM under the context | RRF of MiniLM and BM25 | hybrid "
             "| gain on MiniLM (95 %) |", "|---" * 9 + "|"]  # fmt: skip
    for each in sorted(result["sets"], key=lambda each: -each["gain"]["hybrid over plain"]["mean"]):
        figures, gain = cells(each["ndcg@10"][row] for row in shown), interval(each["gain"]["hybrid over plain"])
        lines.append(f"| {each['set']} | {each['documents']:,} | {each['queries']:,} | {figures} | {gain} |")
    means = cells(result["mean_of_seven"][row]["mean"] for row in shown)
    lines.append(f"| **mean of seven** | | | {means} | {interval(result['gain_of_seven']['hybrid over plain'])} |")
    return "\n".join(lines)


def _ablation(result: dict[str, Any]) -> str:
    lines = ["| | nDCG@10, mean of seven (95 %) |", "|---|---|"]
    for row, name in ROWS.items():
        mean = result["mean_of_seven"][row]
        lines.append(f"| {name} | {cells([mean['mean']])} ({cells([mean['low']])} to {cells([mean['high']])}) |")
    lines.append(f"| hybrid, a foreign context | {cells([result['foreign']['both']])} |")
    lines.append(f"| hybrid, word statistics of a foreign context | {cells([result['foreign']['words']])} |")
    return "\n".join(lines)


def _sizes(result: dict[str, Any]) -> str:
    sizes = result["sizes"]
    lines = [f"| context documents | {' | '.join(sizes)} |", "|---" * (1 + len(sizes)) + "|"]
    lines.append(f"| hybrid | {cells(mean['mean'] for mean in sizes.values())} |")
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result, or print the table of a result."""
    arguments = options(__doc__ or "", table)
    if arguments is not None:
        write_and_show(run(arguments.data, arguments.output), arguments.output, table)


if __name__ == "__main__":
    main()
