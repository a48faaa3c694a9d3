"""How often drift is reported where there is none, and how often where a fifth of the new documents is foreign.

    python benchmarks/drift.py --data ../shared/data --cache vectors --output benchmarks/results/drift.json
    python benchmarks/drift.py --table benchmarks/results/drift.json
    python benchmarks/drift.py --fresh --data ../shared/data --cache vectors --output drift_fresh.json

Every draw splits a corpus at random: one part is what the context stands for, the other gives the new documents, of
which a fifth is replaced by documents of another set for the second question. Vectors are plain MiniLM's, which are the
built-in model's first stage. The kernel's width rests on training sets (`CHOSEN_ON`, `drift_kernel.py`), but figures of
the sets reported here, under a wider kernel, had been seen before it was settled: they are not fully held out.
`--fresh` takes sets that had not been looked at when all choices were made.
"""

import argparse
import json
import logging
import platform
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import numpy as np
from beir import Vectors
from drift_vectors import DOCUMENTS, WORDS, embedded_set

from cde_retrievers import ContextualEncoder
from cde_retrievers.drift.two_sample import LEVEL, PERMUTATIONS, compare
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder

SETS = ("scifact", "cranfield", "cisi", "med", "cosqa", "medquad-liveqa")
# Too small to be split, large enough to be foreign.
FOREIGN = (*SETS, "stackexchange-coffee", "xquad-en")
CHOSEN_ON = ("boolq", "covid-faq", "dc-law", "medquad", "narrativeqa", "nl2bash", "tat-qa")
# First looked at when statistic, level and thresholds were final.
FRESH = ("debian-packages", "openstax-ccby", "powershell-docs", "python-peps", "tldr-commands", "wordnet-glosses")
CORPUS_SAMPLE = 512
NEW = 512
DRAWS = 200
# How many new documents are enough: fewer draws, as this is no matter of a per cent.
FEWER_NEW = (64, 128, 256)
FEWER_DRAWS = 50
FOREIGN_SHARE = 0.2


def draws(home: Vectors, foreign: Vectors | None, new: int, count: int, seed: int) -> dict[str, float]:
    """Of `count` draws, the share that is significant and the mean of the estimated share of unlike documents."""
    rng = np.random.default_rng(seed)
    of_foreign = 0 if foreign is None else round(FOREIGN_SHARE * new)
    flagged, shares = [], []
    for draw in range(count):
        order = rng.permutation(len(home))
        parts = [home[order[CORPUS_SAMPLE : CORPUS_SAMPLE + new - of_foreign]]]
        if foreign is not None:
            parts.append(foreign[rng.permutation(len(foreign))[:of_foreign]])
        found = compare(home[order[:CORPUS_SAMPLE]], np.concatenate(parts), draw)
        flagged.append(found.p_value <= LEVEL)
        shares.append(found.share)
    return {"flagged": float(np.mean(flagged)), "mean_share": round(float(np.mean(shares)), 4)}


def rows_of(name: str, vectors: Mapping[str, Vectors]) -> list[dict[str, object]]:
    """All draws of one corpus: more of itself, and each foreign set, for every number of new documents."""
    rows = []
    for other in (None, *(other for other in vectors if other != name)):
        for new in (NEW, *FEWER_NEW):
            count = DRAWS if new == NEW or other is None else FEWER_DRAWS
            seed = crc32(f"{name} {other} {new}".encode())
            result = draws(vectors[name], None if other is None else vectors[other], new, count, seed)
            rows.append({"corpus": name, "foreign": other, "new": new, "draws": count, **result})
        print(rows[-1 - len(FEWER_NEW)], flush=True)
    return rows


def run(data: Path, cache: Path, jobs: int, fresh: bool) -> dict[str, object]:
    """Every set, some at a time."""
    corpora, foreign = (FRESH, FRESH) if fresh else (SETS, FOREIGN)
    encoder = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    vectors = {name: embedded_set(data / name, encoder, cache).documents for name in foreign}
    with ProcessPoolExecutor(jobs) as pool:
        rows = [row for part in pool.map(partial(rows_of, vectors=vectors), corpora) for row in part]
    return {
        "command": f"python benchmarks/drift.py{' --fresh' * fresh} --data ../shared/data --cache vectors",
        "test": {"level": LEVEL, "permutations": PERMUTATIONS, "chosen_on": CHOSEN_ON},
        "corpus_sample": CORPUS_SAMPLE,
        "foreign_share": FOREIGN_SHARE,
        "documents_at_most": DOCUMENTS,
        "words_a_document": WORDS,
        "documents": {name: len(rows) for name, rows in vectors.items()},
        "seed": "crc32 of corpus, foreign set and number of new documents",
        "dtype": str(encoder.dtype),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "rows": rows,
    }


def table(result: dict) -> str:
    """False alarms and power at the default number of new documents, and the lowest power at fewer."""
    found = {(row["corpus"], row["foreign"], row["new"]): row["flagged"] for row in result["rows"]}
    foreign = list(result["documents"])
    lines = [f"| corpus | more of itself | {' | '.join(foreign)} |", "|---" * (len(foreign) + 2) + "|"]
    for name in dict.fromkeys(row["corpus"] for row in result["rows"]):
        powers = (found.get((name, other, NEW)) for other in foreign)
        shown = " | ".join("" if power is None else f"{power:.1%}" for power in powers)
        lines.append(f"| {name} | {found[name, None, NEW]:.1%} | {shown} |")
    for new in (*FEWER_NEW, NEW):
        alarms = [value for (_, other, size), value in found.items() if size == new and other is None]
        powers = [value for (_, other, size), value in found.items() if size == new and other is not None]
        lines.append(
            f"{new} new documents: false alarms at most {max(alarms):.1%}; a fifth foreign: flagged in "
            f"{np.mean(powers):.1%} on average, {min(powers):.1%} at least, "
            f"{sum(power >= 0.95 for power in powers)} of {len(powers)} pairs in 95 % or more"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result, or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--cache", type=Path, help="folder to keep the vectors in")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--fresh", action="store_true", help="the sets that no choice has seen")
    parser.add_argument("--table", type=Path, help="print this result as text")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    if None in (arguments.data, arguments.cache, arguments.output):
        parser.error("give --data, --cache and --output, or --table")
    # Texts are cut at the model's 256 tokens; the warning would come for every set.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    result = run(arguments.data, arguments.cache, arguments.jobs, arguments.fresh)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
