"""Trains the built-in model in trials, and compares them.

    python benchmarks/builtin_model/train.py --data ../shared/data --output benchmarks/results/builtin_training.json
    python benchmarks/builtin_model/train.py --table benchmarks/results/builtin_training.json

Each arm of the recipe is trained on the same pairs, and searched beside the untrained bi-encoder and the untrained
closed form. `recipe.toml` searches training sets that were kept out, to choose by; evaluation sets are only read, to
drop pairs that share a text. `two_by_two.toml` is the paper's table 1 in small, on the evaluation sets; nothing is
chosen by it. Arms that `--output` has already, by the same recipe, are not run again.
"""

import json
import logging
import platform
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from command_line import options
from in_points import cells, interval
from sets import searched_sets, training_pairs

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Evaluation, RetrievalSet, evaluate, mean_difference, mean_over_sets
from cde_retrievers.model.config import CachedConditioning, Conditioning, JointConditioning, WhiteningConditioning
from cde_retrievers.training import TrainingConfig, TrainingPairs, train

Groups = dict[str, list[RetrievalSet]]
KINDS: dict[str, type[Conditioning]] = {
    "cached": CachedConditioning,
    "joint": JointConditioning,
    "whitening": WhiteningConditioning,
}
CLOSED_FORM = "untrained, closed form"
UNTRAINED: dict[str, dict[str, Any]] = {
    "untrained": {"conditioning": {"kind": "whitening", "power": 0.0}},
    CLOSED_FORM: {"conditioning": {"kind": "whitening"}},
}


def made(arm: dict[str, Any], recipe: dict[str, Any]) -> ContextualEncoder:
    """MiniLM under an arm's conditioning, untrained."""
    conditioning = KINDS[arm["conditioning"]["kind"]](**arm["conditioning"])
    return ContextualEncoder.from_biencoder("minilm", conditioning, **{**recipe["model"], **arm.get("model", {})})


def trained(
    name: str, recipe: dict[str, Any], pairs: TrainingPairs, folder: Path
) -> tuple[ContextualEncoder, dict[str, Any]]:
    """An arm's model, and what its training looked like."""
    arm = recipe["arms"][name]
    encoder = made(arm, recipe)
    own = {} if isinstance(encoder.config.conditioning, WhiteningConditioning) else {"train_first_stage": False}
    config = TrainingConfig(
        output_dir=str(folder / name),
        cache_folder=str(folder / "cache"),
        batching=arm["batching"],
        chunk_size=None,
        save_strategy="no",
        **{**own, **recipe["training"], **arm.get("training", {})},
    )
    result = train(encoder, pairs, config)
    steps = [entry for entry in result.log_history if "loss" in entry]
    curve = {name: [round(float(entry[name]), 4) for entry in steps] for name in ("loss", "accuracy")}
    return result.encoder, {"steps": steps[-1]["step"], **curve}


def under_its_conditioning(arm: dict[str, Any], recipe: dict[str, Any], folder: Path) -> ContextualEncoder:
    """The weights of another arm under this one's conditioning, which has none of its own; with `share`, that share of
    the way from the untrained weights to them.
    """
    encoder = made(arm, recipe)
    weights = ContextualEncoder.from_pretrained(folder / arm["weights_of"] / "model").model.state_dict()
    untrained = encoder.model.state_dict()
    share = arm.get("share", 1.0)
    encoder.model.load_state_dict({name: torch.lerp(untrained[name], weights[name], share) for name in untrained})
    return encoder


def searched(name: str, encoder: ContextualEncoder, groups: Groups) -> dict[str, list[dict[str, Any]]]:
    """Every set under its own context, with the figures of every query but without what was found."""
    shown = {"searcher": name, "best": []}
    return {
        group: [{**evaluate(encoder, data, show_progress=False).to_dict(), **shown} for data in sets]
        for group, sets in groups.items()
    }


def begun(recipe: dict[str, Any], counts: dict[str, Any], output: Path) -> dict[str, Any]:
    """All about a run but its arms; or what `output` has of the same run."""
    result: dict[str, Any] = {
        "command": "python benchmarks/builtin_model/train.py --data ../shared/data",
        "recipe": recipe,
        "pairs": counts,
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers")},
    }
    before = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    arms = before.pop("arms", {}) if {**before, "arms": {}} == {**result, "arms": {}} else {}
    return {**result, "arms": arms}


def run(data: Path, recipe: dict[str, Any], output: Path, folder: Path) -> dict[str, Any]:
    """Every arm, written down as soon as it is done; `folder` gets the models."""
    groups = searched_sets(data, recipe["search"])
    pairs, counts = training_pairs(data, **recipe["pairs"])
    result = begun(recipe, counts, output)
    for name, arm in {**UNTRAINED, **recipe["arms"]}.items():
        if name in result["arms"]:
            continue
        training: dict[str, Any] = {}
        if name in UNTRAINED:
            encoder = made(arm, recipe)
        elif "weights_of" in arm:
            encoder = under_its_conditioning(arm, recipe, folder)
        else:
            encoder, training = trained(name, recipe, pairs, folder)
        result["arms"][name] = {"training": training, "searched": searched(name, encoder, groups)}
        output.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def table(result: dict[str, Any]) -> str:
    """Mean nDCG@10 of every arm over each group of sets, and over the last group what it gains and on what."""
    found = {
        name: {group: [Evaluation.from_dict(each) for each in sets] for group, sets in arm["searched"].items()}
        for name, arm in result["arms"].items()
    }
    arms = result["recipe"]["arms"]
    *_, last = groups = list(found[CLOSED_FORM])
    columns = ["nDCG@10", *groups, f"{last}: gain on the closed form"]
    if compared := any("against" in arm for arm in arms.values()):
        columns.append("gain on another")
    lines = [_row(columns), "|---" * len(columns) + "|"]
    for name in (*UNTRAINED, *arms):
        means = cells(mean_over_sets(found[name][group]).mean for group in groups)
        gain = _gain(found[name][last], found[CLOSED_FORM][last]) if name != CLOSED_FORM else ""
        against = arms.get(name, {}).get("against", "")
        other = f"{against}: {_gain(found[name][last], found[against][last])}" if against else ""
        lines.append(_row([name, means, gain, *([other] if compared else [])]))
    return "\n".join(lines)


def _row(columns: list[str]) -> str:
    return f"| {' | '.join(columns)} |"


def _gain(one: list[Evaluation], other: list[Evaluation]) -> str:
    return interval(mean_difference(one, other).to_dict())


def main() -> None:
    """Run every arm and write the result, or print the table of a result."""
    arguments = options(__doc__, table, recipe={"default": Path(__file__).with_name("recipe.toml")}, models={})
    if arguments is None:
        return
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        print(table(run(arguments.data, recipe, arguments.output, arguments.models or Path(folder))))


if __name__ == "__main__":
    main()
