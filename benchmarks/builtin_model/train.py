"""Trains the built-in model in trials, and compares them on training sets that were kept out.

    python benchmarks/builtin_model/train.py --data ../shared/data --output benchmarks/results/builtin_training.json
    python benchmarks/builtin_model/train.py --table benchmarks/results/builtin_training.json

Each arm of `recipe.toml` is trained on the same pairs, and searched beside the untrained bi-encoder and the untrained
closed form. Evaluation sets are not searched here; only their texts are read, to drop pairs that share one.
"""

import json
import logging
import platform
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command_line import options
from sets import held_out_sets, training_pairs

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Evaluation, RetrievalSet, evaluate, mean_difference, mean_over_sets
from cde_retrievers.model.config import CachedConditioning, Conditioning, WhiteningConditioning
from cde_retrievers.training import TrainingConfig, TrainingPairs, train

KINDS: dict[str, type[Conditioning]] = {"cached": CachedConditioning, "whitening": WhiteningConditioning}
UNTRAINED = {"untrained": WhiteningConditioning(power=0), "untrained, closed form": WhiteningConditioning()}
COMPARED_WITH = "untrained, closed form"


def made(conditioning: Conditioning, recipe: dict[str, Any]) -> ContextualEncoder:
    """MiniLM under that conditioning, untrained."""
    return ContextualEncoder.from_biencoder("minilm", conditioning, **recipe["model"])


def trained(
    name: str, recipe: dict[str, Any], pairs: TrainingPairs, folder: Path
) -> tuple[ContextualEncoder, dict[str, Any]]:
    """An arm's model, and what its training looked like."""
    arm = recipe["arms"][name]
    conditioning = KINDS[arm["conditioning"]["kind"]](**arm["conditioning"])
    own = {"train_first_stage": False} if isinstance(conditioning, CachedConditioning) else {}
    config = TrainingConfig(
        output_dir=str(folder / name),
        cache_folder=str(folder / "cache"),
        batching=arm["batching"],
        chunk_size=None,
        save_strategy="no",
        **own,
        **recipe["training"],
    )
    result = train(made(conditioning, recipe), pairs, config)
    steps = [entry for entry in result.log_history if "loss" in entry]
    curve = {name: [round(float(entry[name]), 4) for entry in steps] for name in ("loss", "accuracy")}
    return result.encoder, {"steps": steps[-1]["step"], **curve}


def searched(encoder: ContextualEncoder, sets: list[RetrievalSet]) -> list[dict[str, Any]]:
    """Every set under its own context, with the figures of every query but without what was found."""
    return [{**evaluate(encoder, data, show_progress=False).to_dict(), "best": []} for data in sets]


def run(data: Path, recipe: dict[str, Any], output: Path) -> dict[str, Any]:
    """Every arm, written down as soon as it is done."""
    sets = list(held_out_sets(data, **recipe["search"]))
    pairs, counts = training_pairs(data, **recipe["pairs"])
    result: dict[str, Any] = {
        "command": "python benchmarks/builtin_model/train.py --data ../shared/data",
        "recipe": recipe,
        "pairs": counts,
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers")},
        "arms": {name: {"searched": searched(made(kind, recipe), sets)} for name, kind in UNTRAINED.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in recipe["arms"]:
            encoder, training = trained(name, recipe, pairs, Path(folder))
            result["arms"][name] = {"training": training, "searched": searched(encoder, sets)}
            output.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def table(result: dict[str, Any]) -> str:
    """Mean nDCG@10 of every arm over the held-out sets, and what it gains on the untrained closed form."""
    arms = {name: [Evaluation.from_dict(e) for e in arm["searched"]] for name, arm in result["arms"].items()}
    lines = ["| | steps | nDCG@10 | against the untrained closed form, points |", "|---|---|---|---|"]
    for name, found in arms.items():
        steps = result["arms"][name].get("training", {}).get("steps", 0)
        gain = mean_difference(found, arms[COMPARED_WITH])
        lines.append(
            f"| {name} | {steps} | {100 * mean_over_sets(found).mean:.1f} "
            f"| {100 * gain.mean:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run every arm and write the result, or print the table of a result."""
    arguments = options(__doc__, table, recipe={"default": Path(__file__).with_name("recipe.toml")})
    if arguments is None:
        return
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    print(table(run(arguments.data, recipe, arguments.output)))


if __name__ == "__main__":
    main()
