"""What vectors in fewer bytes cost: nDCG@10, bytes and the time of a search, by how an index stores them.

Each set is embedded once by the built-in model under its context; every form is an index of those embeddings, searched
by vectors alone and by vectors and words. The forms were chosen by the held-out sets, parts of sets with texts cut to
their first words. The built-in model was not trained for Matryoshka. "float16" is no form of an index:
embeddings are rounded to it in an index of float32, and a search is timed as numpy would make it, some rows at a time.

Times are of an index of kind "flat" with random vectors and one core, for queries that are embedded already; forms take
turns.

OMP_NUM_THREADS=1 python benchmarks/vector_bytes.py --data <folder of BEIR sets> --output <file>
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from builtin_model.command_line import options, write_and_show
from builtin_model.sets import held_out_sets

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import RetrievalDataset
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.vector_format import VectorFormat
from cde_retrievers.retrieval.exact_search import inner_products, top_rows

FORMS = (
    *(("float32", None), ("float16", None), ("int8", None), ("binary", None)),
    *(("float32", 256), ("float32", 128), ("int8", 256), ("int8", 128), ("int8", 48), ("binary", 128)),
)
EVALUATION = ("adi", "med", "cranfield")
HELD_OUT = ("selqa", "covid-faq", "conala")
QUERIES, DOCUMENTS, WORDS = 150, 700, 60
ROWS, TIMES, AT_ONCE, K = 50_000, 15, 64, 10
HALF_ROWS = 2_048


def sets_of(data: Path) -> Iterator[tuple[str, RetrievalDataset]]:
    """Groups and sets: parts of training sets, then whole evaluation sets."""
    for chosen in held_out_sets(data, QUERIES, DOCUMENTS):
        if chosen.name in HELD_OUT:
            yield "held out", cut(chosen)
    for name in EVALUATION:
        yield "evaluation", RetrievalDataset.read(data / name)


def cut(data: RetrievalDataset) -> RetrievalDataset:
    """The set with the first words of its documents."""
    texts = tuple(" ".join(text.split()[:WORDS]) for text in data.texts)
    return RetrievalDataset(data.name, data.ids, texts, data.judged)


def made(
    folder: Path,
    encoder: Any,
    context: Any,
    documents: list[Document],
    vectors: Any,
    dtype: Any,
    dimensions: int | None,
) -> ContextualIndex:
    """An index of these embeddings in a form."""
    if dtype == "float16":
        vectors, dtype = vectors.astype(np.float16).astype(np.float32), "float32"
    index = ContextualIndex.create(encoder, context, folder, dtype=dtype, dimensions=dimensions)
    index.add_embedded(documents, vectors, context.fingerprint)
    return index


def scores(data: RetrievalDataset, encoder: ContextualEncoder) -> dict[str, dict[str, float]]:
    """nDCG@10 of each form by vectors ("dense"), and by vectors and words ("hybrid")."""
    context = encoder.fit_context(list(data.texts), show_progress=False)
    vectors = encoder.encode_documents(list(data.texts), context, show_progress=False)
    texts = list(data.judged.queries.values())
    queries = encoder.encode_queries(texts, context, show_progress=False)
    documents = [Document(text, id=name) for name, text in zip(data.ids, data.texts, strict=True)]
    found: dict[str, dict[str, float]] = {}
    for dtype, dimensions in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            index = made(Path(folder) / "index", encoder, context, documents, vectors, dtype, dimensions)
            found[name_of(dtype, dimensions)] = {
                mode: ndcg(data, index.search_embedded(queries, context.fingerprint, K, texts=words))
                for mode, words in (("dense", None), ("hybrid", texts))
            }
    return found


def ndcg(data: RetrievalDataset, hits: list[list[Any]]) -> float:
    """nDCG@10 of the hits of every query."""
    return float(data.judged.ndcg_at_10(data.judged.run_of([(hit.id, hit.score) for hit in row] for row in hits)))


def name_of(dtype: str, dimensions: int | None) -> str:
    """What a form is called in the result."""
    return dtype if dimensions is None else f"{dtype}, first {dimensions}"


def bytes_of(dtype: Any, dimensions: int | None, width: int) -> int:
    """Bytes of a stored vector."""
    if dtype == "float16":
        return 2 * (dimensions or width)
    return VectorFormat(width, dimensions or width, dtype).bytes_per_vector


def times(encoder: ContextualEncoder) -> dict[str, dict[str, float]]:
    """Seconds of a search for one query, and for several at once, by form."""
    random = np.random.default_rng(0)
    context = encoder.fit_context(["a text", "another text"], show_progress=False)
    vectors = drawn(random, ROWS, encoder.width)
    queries = drawn(random, TIMES * AT_ONCE, encoder.width)
    documents = [Document("a text", id=str(row)) for row in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        searches: dict[str, Callable[[Any], Any]] = {}
        for dtype, dimensions in FORMS:
            name = name_of(dtype, dimensions)
            if dtype == "float16":
                searches[name] = in_half(vectors.astype(np.float16))
                continue
            index = made(Path(folder) / name, encoder, context, documents, vectors, dtype, dimensions)
            searches[name] = lambda asked, index=index: index.search_embedded(asked, context.fingerprint, K)
        taken: dict[str, dict[str, list[float]]] = {name: {"one": [], "many": []} for name in searches}
        for turn in range(TIMES):
            asked = queries[turn * AT_ONCE : (turn + 1) * AT_ONCE]
            for name, search in searches.items():
                for label, some in (("one", asked[:1]), ("many", asked)):
                    start = time.perf_counter()
                    search(some)
                    taken[name][label].append(time.perf_counter() - start)
    return {name: {label: median(seconds) for label, seconds in both.items()} for name, both in taken.items()}


def in_half(codes: Any) -> Callable[[Any], Any]:
    """An exact search of float16 rows, some of which become float32 at a time."""

    def search(asked: Any) -> Any:
        parts = [codes[start : start + HALF_ROWS] for start in range(0, len(codes), HALF_ROWS)]
        found = np.concatenate([inner_products(asked, part.astype(np.float32)) for part in parts], axis=1)
        return top_rows(found, np.arange(len(codes)), K)

    return search


def drawn(random: np.random.Generator, rows: int, width: int) -> Any:
    """Random unit rows."""
    vectors = random.standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def table(result: dict[str, Any]) -> str:
    """One row per form: bytes, nDCG@10 by vectors and by both, and times as multiples of float32's."""
    names = [name for name, known in result["sets"].items() if known["group"] == "evaluation"]
    head = ["vectors", "bytes", "held out", *names, "mean", "with words", "one query", f"{result['at_once']} queries"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    plain = result["forms"]["float32"]
    for form, known in result["forms"].items():
        dense = [result["sets"][name]["ndcg"][form]["dense"] for name in names]
        held_out = means(result, form, "held out", "dense")
        both = [held_out, *dense, *(means(result, form, "evaluation", mode) for mode in ("dense", "hybrid"))]
        shares = " | ".join(f"{100 * share:.1f}" for share in both)
        ratios = [f"{known['seconds'][label] / plain['seconds'][label]:.2f}" for label in ("one", "many")]
        lines.append(f"| {form} | {known['bytes']:,} | {shares} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def means(result: dict[str, Any], form: str, group: str, mode: str) -> float:
    """Mean nDCG@10 over the sets of a group."""
    return mean(known["ndcg"][form][mode] for known in result["sets"].values() if known["group"] == group)


def main() -> None:
    """Measure, or print the table of a result."""
    arguments = options(__doc__ or "", table)
    if arguments is None:
        return
    encoder = ContextualEncoder.from_pretrained("minilm")
    seconds = times(encoder)
    result: dict[str, Any] = {
        "rows": ROWS,
        "at_once": AT_ONCE,
        "forms": {
            name_of(*form): {"bytes": bytes_of(*form, encoder.width), "seconds": seconds[name_of(*form)]}
            for form in FORMS
        },
        "sets": {
            data.name: {"group": group, "documents": len(data.ids), "queries": len(data.judged.queries)}
            | {"ndcg": scores(data, encoder)}
            for group, data in sets_of(arguments.data)
        },
    }
    write_and_show(result, arguments.output, table)


if __name__ == "__main__":
    main()
