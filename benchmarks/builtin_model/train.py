r"""Trains the built-in model in trials, and compares them.

    python benchmarks/builtin_model/train.py --models <folder> --data ../shared/data \
        --output benchmarks/results/builtin_training.json
    python benchmarks/builtin_model/train.py --table benchmarks/results/builtin_training.json

Each arm of the recipe is trained on the same pairs, and searched beside the untrained bi-encoder and the untrained
closed form. `recipe.toml` searches sets that were kept out of training, to choose by; evaluation sets are only read, to
drop pairs that share a text. `longer.toml` does so too, with its best arm and more training. `two_by_two.toml` is the
paper's table 1 in small, on the evaluation sets; nothing is chosen by it. A run that was interrupted goes on: arms that
`--output` has, and models and checkpoints that `--models` has, are kept.
"""

import json
import logging
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from command_line import options
from in_points import cells, interval
from sets import searched_sets, training_pairs

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import Evaluation, RetrievalDataset, evaluate, mean_difference, mean_over_sets
from cde_retrievers.model.config import CachedConditioning, Conditioning, JointConditioning, WhiteningConditioning
from cde_retrievers.storage.atomic import replace_bytes
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.training import TrainingConfig, TrainingPairs, mine_hard_negatives, train
from cde_retrievers.training.checkpoints import newest_complete

Groups = dict[str, list[RetrievalDataset]]
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
    """An arm's model and what its training looked like.

    Read from `folder` where an earlier run left them; training goes on from the newest checkpoint there.
    """
    arm = recipe["arms"][name]
    output = folder / f"{name}, {sha256_of_json(arm)[:8]}"
    if (output / "model").is_dir():
        return ContextualEncoder.from_pretrained(output / "model"), curves_of(output)
    encoder = made(arm, recipe)
    if "mine" in arm:
        pairs = mine_hard_negatives(pairs, made(UNTRAINED["untrained"], recipe), **arm["mine"])
    own = {} if isinstance(encoder.config.conditioning, WhiteningConditioning) else {"train_first_stage": False}
    config = TrainingConfig(
        output_dir=str(output),
        cache_folder=str(folder / "cache"),
        batching=arm["batching"],
        chunk_size=None,
        **{"save_strategy": "no", **own, **recipe["training"], **arm.get("training", {})},
    )
    has_begun = newest_complete(output) is not None
    return train(encoder, pairs, config, resume_from_checkpoint=has_begun).encoder, curves_of(output)


def curves_of(output: Path) -> dict[str, Any]:
    """Steps, losses and accuracies that a run wrote down."""
    log = [json.loads(line) for line in (output / "training_log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [entry for entry in log if "loss" in entry]
    curves = {name: [round(float(entry[name]), 4) for entry in steps] for name in ("loss", "accuracy")}
    return {"steps": steps[-1]["step"], **curves}


def under_its_conditioning(arm: dict[str, Any], recipe: dict[str, Any], other: ContextualEncoder) -> ContextualEncoder:
    """The weights of another arm's model under this one's conditioning, which has none of its own; with `share`, that
    share of the way from the untrained weights to them.
    """
    encoder = made(arm, recipe)
    weights = other.model.state_dict()
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


def shared_by_arms(result: dict[str, Any]) -> dict[str, Any]:
    """What every arm of a run has in common; arms of two runs that differ here do not belong in one table."""
    recipe = {key: value for key, value in result["recipe"].items() if key != "arms"}
    return {"recipe": recipe, **{key: result[key] for key in ("pairs", "machine", "packages")}}


def done_before(result: dict[str, Any], output: Path) -> dict[str, Any]:
    """The arms that `output` has already; none where there is no such file.

    Raises:
        SystemExit: they are of another run.
    """
    if not output.is_file():
        return {}
    before = json.loads(output.read_text(encoding="utf-8"))
    old, new = (each["recipe"]["arms"] for each in (before, result))
    changed = [name for name in before["arms"] if name not in UNTRAINED and old[name] != new.get(name)]
    if changed or shared_by_arms(before) != shared_by_arms(result):
        raise SystemExit(f"{output} has arms of another recipe, data or packages; give another --output")
    arms: dict[str, Any] = before["arms"]
    return arms


def run(data: Path, recipe_file: Path, models: Path, output: Path) -> dict[str, Any]:
    """Every arm, written down as soon as it is done; `models` gets what was trained."""
    recipe = tomllib.loads(recipe_file.read_text(encoding="utf-8"))
    pairs, counts = training_pairs(data, **recipe["pairs"])
    result: dict[str, Any] = {
        "command": f"python benchmarks/builtin_model/train.py --recipe {recipe_file} --models <folder> "
        f"--data ../shared/data --output {output}",
        "recipe": recipe,
        "pairs": counts,
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "transformers")},
    }
    result["arms"] = done_before(result, output)
    # Models of another recipe are never taken for this one's.
    folder = models / sha256_of_json(shared_by_arms(result))[:12]
    groups = searched_sets(data, recipe["search"])
    for name, arm in {**UNTRAINED, **recipe["arms"]}.items():
        if name in result["arms"]:
            continue
        training: dict[str, Any] = {}
        if name in UNTRAINED:
            encoder = made(arm, recipe)
        elif "weights_of" in arm:
            other, _ = trained(arm["weights_of"], recipe, pairs, folder)
            encoder = under_its_conditioning(arm, recipe, other)
        else:
            encoder, training = trained(name, recipe, pairs, folder)
        result["arms"][name] = {"training": training, "searched": searched(name, encoder, groups)}
        replace_bytes(output, f"{json.dumps(result)}\n".encode())
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
    arguments = options(
        __doc__,
        table,
        recipe={"default": Path(__file__).with_name("recipe.toml"), "help": "settings of the run, a TOML file"},
        models={"help": "folder for the trained models", "required": True},
    )
    if arguments is None:
        return
    # Texts are cut at 64 tokens on purpose; the warning would come for every batch.
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)
    print(table(run(arguments.data, arguments.recipe, arguments.models, arguments.output)))


if __name__ == "__main__":
    main()
