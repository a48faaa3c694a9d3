r"""BM25 by the term statistics of a context: its own, of every size, that of other corpora, and of the whole corpus.

    python benchmarks/builtin_model/term_statistics.py --data ../shared/data \
        --output benchmarks/results/term_statistics.json
    python benchmarks/builtin_model/term_statistics.py --table benchmarks/results/term_statistics.json

Exact search over all documents of the seven evaluation sets, with k1 and b as they are by default. Nothing was chosen
by these figures. "foreign" is the mean over the statistics of the other six sets, "generic" those of the texts that
ship with the package, and bm25s ranks with the statistics of the whole corpus and an analyzer without identifiers.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from command_line import options, write_and_show
from in_points import cells
from sets import SEVEN, evaluation_sets

from cde_retrievers.context.generic import generic_texts
from cde_retrievers.context.selection import draw_candidates
from cde_retrievers.evaluation import BM25, RetrievalDataset, evaluate
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows

SIZES = (16, 32, 64, 128, 256, 512, 1024)
SIZE = 512
MAIN = "ndcg@10"


@dataclass(frozen=True)
class Lexical:
    """BM25 under given term statistics."""

    statistics: TermStatistics
    name: str = "BM25 under a context"

    def search(self, data: RetrievalDataset, depth: int, show_progress: bool | None = None) -> Hits:
        """As `Searcher`."""
        documents = document_rows(data.texts, self.statistics)
        scores = (query_rows(data.judged.queries.values(), self.statistics) @ documents.T).toarray()
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        found = np.take_along_axis(scores, rows, axis=1)
        return Hits(rows, np.where(found > 0, found, -np.inf).astype(np.float32))


def statistics_of(texts: tuple[str, ...], size: int) -> TermStatistics:
    """Those of a random sample, as a context draws it."""
    return TermStatistics.of(draw_candidates(texts, size, 0).texts, Analyzer())


def run(data: Path, output: Path) -> dict[str, Any]:
    """Search every set with every statistics."""
    sets = list(evaluation_sets(data))
    own = [statistics_of(each.texts, SIZE) for each in sets]
    generic = TermStatistics.of(generic_texts(), Analyzer())
    rows = []
    for place, each in enumerate(sets):

        def judged(statistics: TermStatistics, each: RetrievalDataset = each) -> float:
            return evaluate(Lexical(statistics), each).mean(MAIN).mean

        foreign = [judged(other) for at, other in enumerate(own) if at != place]
        figures = {str(size): judged(statistics_of(each.texts, size)) for size in SIZES}
        figures["whole"] = judged(TermStatistics.of(each.texts, Analyzer()))
        figures |= {"generic": judged(generic), "foreign": float(np.mean(foreign))}
        figures["bm25s"] = evaluate(BM25(), each).mean(MAIN).mean
        terms, size = len(own[place]), own[place].terms.nbytes + own[place].frequencies.nbytes
        figures = {name: round(value, 4) for name, value in figures.items()}
        rows.append({"set": each.name, "documents": len(each.texts), "terms": terms, "bytes": size, MAIN: figures})
    command = f"python benchmarks/builtin_model/term_statistics.py --data ../shared/data --output {output}"
    packages = {name: version(name) for name in ("scipy", "numpy", "PyStemmer", "bm25s")}
    return {"command": command, "k1": own[0].k1, "b": own[0].b, "packages": packages, "sets": rows}


def table(result: dict[str, Any]) -> str:
    """nDCG@10 in points by the statistics that were used."""
    columns = list(result["sets"][0][MAIN])
    lines = [f"| set | {' | '.join(columns)} | kB |", "|---" * (len(columns) + 2) + "|"]
    for each in result["sets"]:
        lines.append(f"| {each['set']} | {cells(each[MAIN].values())} | {each['bytes'] / 1000:.0f} |")
    means = [float(np.mean([each[MAIN][column] for each in result["sets"]])) for column in columns]
    lines.append(f"| **mean of {len(SEVEN)}** | {cells(means)} | |")
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result, or print the table of a result."""
    arguments = options(__doc__ or "", table)
    if arguments is not None:
        write_and_show(run(arguments.data, arguments.output), arguments.output, table)


if __name__ == "__main__":
    main()
