"""What refitting gains once a corpus has taken in foreign documents: nDCG@10 under the old and the refitted context.

    python benchmarks/drift_retrieval.py --data ../shared/data --cache vectors \
        --output benchmarks/results/drift_retrieval.json
    python benchmarks/drift_retrieval.py --table benchmarks/results/drift_retrieval.json

A corpus had 1,000 documents of a home set when its context was fitted; foreign documents have taken the place of some.
The refitted context is fitted on the corpus as it is. The report's boundary and expectation were read off the training
sets; the evaluation sets show how they hold, though their figures had been seen when the boundary and the bins were
settled.
"""

import argparse
import json
import logging
import platform
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from beir import Vectors, ndcg_at_10
from drift_vectors import DOCUMENTS, WORDS, EmbeddedSet, embedded_set
from torch.nn.functional import normalize

from cde_retrievers import ContextualEncoder
from cde_retrievers.drift.two_sample import LEVEL, compare
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder
from cde_retrievers.model.whitening import fit_whitening

TRAINING = (
    "squad-train-part", "natural-questions", "boolq", "tat-qa", "narrativeqa",
    "nl2bash", "covid-faq", "medquad", "dc-law", "scitldr",
)  # fmt: skip
EVALUATION = ("scifact", "cranfield", "cisi", "med", "cosqa", "medquad-liveqa")
# Each set is home to those that follow it at these distances in its tuple, cyclically.
NEIGHBOURS = (1, 2, 3, 5)
SHARES = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
CORPUS = 1000
CONTEXT = 512
REPEATS = 3
BINS = (0.0, 0.1, 0.3, 0.6, 1.01)


def ndcg_under(context: Vectors, documents: Vectors, part: EmbeddedSet) -> float:
    """nDCG@10 in points of one set's queries over all documents, of which the set's own come first."""
    settings = WhiteningConditioning()
    whiten = fit_whitening(torch.from_numpy(context), settings.power, settings.shrinkage)
    mapped = [normalize(whiten(torch.from_numpy(v)), dim=-1).numpy() for v in (documents, part.queries)]
    ids = [*part.data.document_ids, *(f"other {place}" for place in range(len(documents) - len(part.documents)))]
    return 100 * ndcg_at_10(replace(part.data, document_ids=ids), *mapped)


def first(data: EmbeddedSet, count: int) -> EmbeddedSet:
    """The set with its first documents only, and the queries that these answer; judged documents come first."""
    ids = set(data.data.document_ids[:count])
    answers = {q: {d: s for d, s in row.items() if d in ids} for q, row in data.data.qrels.items()}
    asked = [place for place, query in enumerate(data.data.query_ids) if any(answers[query].values())]
    names = [data.data.query_ids[place] for place in asked]
    small = replace(
        data.data,
        document_ids=data.data.document_ids[:count],
        query_ids=names,
        qrels={name: answers[name] for name in names},
    )
    return EmbeddedSet(small, data.documents[:count], data.queries[asked])


def measured(home: EmbeddedSet, foreign: EmbeddedSet, share: float, seed: int) -> dict[str, float]:
    """One corpus under both contexts, and what `compare` says about it.

    nDCG of the home's and of the foreign queries; "all" weighs them as the corpus is made up.
    """
    rng = np.random.default_rng(seed)
    of_foreign = round(share * CORPUS)
    parts = {"home": first(home, CORPUS - of_foreign), "foreign": first(foreign, of_foreign)}
    corpus = np.concatenate([part.documents for part in parts.values()])
    order = rng.permutation(CORPUS)
    old = home.documents[order[:CONTEXT]]
    refitted = corpus[rng.permutation(len(corpus))[:CONTEXT]]
    unlike = round(share * CONTEXT)
    new = [home.documents[order[CONTEXT : 2 * CONTEXT - unlike]]]
    new.append(foreign.documents[rng.permutation(len(foreign.documents))[:unlike]])
    found = compare(old, np.concatenate(new), seed)
    scores: dict[str, float] = {"estimated": found.share, "flagged": float(found.p_value <= LEVEL)}
    for kind, part in parts.items():
        if part.data.query_ids:
            # Each part's own documents lead, as `ndcg_under` numbers them.
            rest = parts["foreign" if kind == "home" else "home"].documents
            documents = np.concatenate([part.documents, rest])
            scores[f"old_{kind}"] = ndcg_under(old, documents, part)
            scores[f"gain_{kind}"] = ndcg_under(refitted, documents, part) - scores[f"old_{kind}"]
    gains = [(scores.get("gain_home"), 1 - share), (scores.get("gain_foreign"), share)]
    known = [(gain, weight) for gain, weight in gains if gain is not None]
    scores["gain_all"] = sum(g * w for g, w in known) / sum(w for _, w in known)
    return scores


def rows_of(names: tuple[str, ...], sets: dict[str, EmbeddedSet]) -> list[dict[str, object]]:
    """Every pair and share, averaged over the repeats."""
    rows = []
    for place, name in enumerate(names):
        for step in NEIGHBOURS:
            other = names[(place + step) % len(names)]
            for share in SHARES:
                runs = [measured(sets[name], sets[other], share, seed) for seed in range(REPEATS)]
                means = {key: round(float(np.mean([run[key] for run in runs])), 3) for key in runs[0]}
                rows.append({"home": name, "foreign": other, "share": share, **means})
            print(name, other, rows[-2]["estimated"], rows[-2]["gain_all"], flush=True)
    return rows


def summary(rows: list[dict]) -> list[dict[str, float]]:
    """Gains by the estimated share of unlike documents, in points of nDCG@10."""
    result = []
    for low, high in pairwise(BINS):
        gains = [row["gain_all"] for row in rows if low <= row["estimated"] < high]
        if gains:
            tenth, ninetieth = np.quantile(gains, [0.1, 0.9])
            result.append({"from": low, "to": min(high, 1.0), "corpora": len(gains), "mean": round(np.mean(gains), 2),
                           "standard_error": round(np.std(gains) / np.sqrt(len(gains)), 2),
                           "tenth": round(tenth, 2), "ninetieth": round(ninetieth, 2)})  # fmt: skip
    return result


def run(data: Path, cache: Path) -> dict[str, object]:
    """Training sets, which the report's figures come from, and evaluation sets."""
    encoder = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    sets = {name: embedded_set(data / name, encoder, cache) for name in (*TRAINING, *EVALUATION)}
    rows = {"training": rows_of(TRAINING, sets), "evaluation": rows_of(EVALUATION, sets)}
    return {
        "command": "python benchmarks/drift_retrieval.py --data ../shared/data --cache vectors",
        "conditioning": WhiteningConditioning().model_dump(),
        "corpus": CORPUS,
        "context": CONTEXT,
        "seeds": list(range(REPEATS)),
        "documents_at_most": DOCUMENTS,
        "words_a_document": WORDS,
        "dtype": str(encoder.dtype),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers", "numpy", "faiss-cpu")},
        "summary": {kind: summary(found) for kind, found in rows.items()},
        "rows": rows,
    }


def table(result: dict) -> str:
    """The summaries as Markdown."""
    lines = ["| sets | estimated share | corpora | mean gain | standard error | 10 % | 90 % |", "|---" * 7 + "|"]
    for kind, bins in result["summary"].items():
        for row in bins:
            lines.append(
                f"| {kind} | {row['from']:.0%} to {row['to']:.0%} | {row['corpora']} | {row['mean']:+.2f} "
                f"| {row['standard_error']:.2f} | {row['tenth']:+.2f} | {row['ninetieth']:+.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and write the result, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--cache", type=Path, help="folder to keep the vectors in")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path, help="print this result as Markdown")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    if None in (arguments.data, arguments.cache, arguments.output):
        parser.error("give --data, --cache and --output, or --table")
    # Texts are cut at the model's 256 tokens; the warning would come for every set.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    result = run(arguments.data, arguments.cache)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
