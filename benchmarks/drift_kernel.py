"""Compares widths of the drift test's kernel on training sets, never on evaluation sets.

    python benchmarks/drift_kernel.py --data ../shared/data --cache vectors \
        --output benchmarks/results/drift_kernel.json

For all ordered pairs of sets, 64 new documents of which a fifth is foreign: few enough that kernels differ. The choice
is 0.5, the usual one, for which the width is the median distance: sharper ones are flagged less often; wider ones up to
two points more often, but they see little else than a shift of the mean.
"""

import argparse
import json
import logging
from itertools import permutations
from pathlib import Path

import numpy as np
from beir import Vectors
from drift_vectors import embedded_set

from cde_retrievers import ContextualEncoder
from cde_retrievers.drift.two_sample import LEVEL, PERMUTATIONS, kernel, mean_discrepancies
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder

SETS = ("boolq", "covid-faq", "dc-law", "medquad", "narrativeqa", "nl2bash", "tat-qa")
SHARPNESS = (0.125, 0.25, 0.5, 1.0, 2.0)
CORPUS_SAMPLE = 512
NEW = 64
FOREIGN = 13
DRAWS = 40


def flagged(home: Vectors, foreign: Vectors, seed: int) -> list[bool]:
    """Whether each kernel finds one draw of new documents significant."""
    rng = np.random.default_rng(seed)
    known = rng.permutation(len(home))[: CORPUS_SAMPLE + NEW - FOREIGN]
    pooled = np.concatenate([home[known], foreign[rng.permutation(len(foreign))[:FOREIGN]]])
    is_new = np.arange(len(pooled)) >= CORPUS_SAMPLE
    others = rng.permuted(np.tile(is_new, (PERMUTATIONS, 1)), axis=1)
    splits = np.concatenate([is_new[None], others])
    found = (mean_discrepancies(kernel(pooled, sharpness), splits) for sharpness in SHARPNESS)
    return [bool(np.mean(values >= values[0]) <= LEVEL) for values in found]


def main() -> None:
    """Count for every pair of sets and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep the vectors in")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    # Texts are cut at the model's 256 tokens; the warning would come for every set.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    encoder = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    vectors = {name: embedded_set(arguments.data / name, encoder, arguments.cache).documents for name in SETS}
    rows = []
    for home, foreign in permutations(SETS, 2):
        shares = np.mean([flagged(vectors[home], vectors[foreign], seed) for seed in range(DRAWS)], axis=0)
        rows.append({"corpus": home, "foreign": foreign, "flagged": [round(float(share), 3) for share in shares]})
    powers = np.array([row["flagged"] for row in rows])
    result = {
        "command": "python benchmarks/drift_kernel.py --data ../shared/data --cache vectors",
        "settings": {"corpus_sample": CORPUS_SAMPLE, "new": NEW, "foreign": FOREIGN, "draws": DRAWS, "level": LEVEL},
        "sharpness": SHARPNESS,
        "mean": [round(float(power), 3) for power in powers.mean(axis=0)],
        "worst": [round(float(power), 3) for power in powers.min(axis=0)],
        "pairs": rows,
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(*zip(SHARPNESS, result["mean"], result["worst"], strict=True), sep="\n")


if __name__ == "__main__":
    main()
