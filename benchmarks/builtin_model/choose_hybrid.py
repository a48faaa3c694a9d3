r"""Chooses the settings of contextual hybrid search on training sets, never on evaluation sets.

    python benchmarks/builtin_model/choose_hybrid.py --data ../shared/data --cache ../vectors \
        --output benchmarks/results/hybrid_choice.json
    python benchmarks/builtin_model/choose_hybrid.py --table benchmarks/results/hybrid_choice.json

26 sets: people's questions, and other whole domains; of each at most 300 queries and 1,500 documents, and one context
of 512 of these, which gives the closed form and the term statistics. Texts of the evaluation sets are left out.

The rule, written before the runs. A setting is worth the mean of nDCG@10 over all sets, each with equal weight. It is
safe if no set is more than 1.0 point below plain MiniLM, nor more than 2.0 points below the better of MiniLM and BM25;
where none is safe, both limits are widened by half a point until one is. Of the safe settings within 0.1 points of the
best safe one the simplest is chosen: without feedback, then with the fewest weights, then nearest to power 0.3,
shrinkage 1, k1 1.2 and b 0.75 in steps of the grid, then the best.

First every fusion is tried with all its weights, powers and shrinkages. Then, for the best three safe fusions, whose
one weight or more may move a step of its grid, all else is tried together: every shrinkage, power, k1, b and feedback.
That is done again around what was chosen, until the same is chosen again.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from itertools import product, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from choosing_data import ChoosingSet, Values, prepared_sets
from command_line import options, write_and_show
from fusions import FUSIONS
from hybrid_settings import FEEDBACK, K1, POWERS, SHRINKAGES, B, Baselines, Setting, Views, choose
from in_points import cells
from sets import QUESTIONS

FINE_FUSIONS = 3
WORKERS = 2
SHOWN = {"plain": "MiniLM", "whitening": "whitening", "bm25": "BM25", "rrf": "RRF", "chosen": "chosen"}


def broad() -> Iterator[Setting]:
    """Every fusion with all its weights, under every closed form."""
    for name, fusion in FUSIONS.items():
        for weights, (power, shrinkage) in product(fusion.grid(), closed_forms(POWERS)):
            yield Setting(name, weights, power, shrinkage)


def fine(around: Setting) -> Iterator[Setting]:
    """All settings of one fusion whose weights and power are at most a step away."""
    place = POWERS.index(around.power)
    near = closed_forms(POWERS[max(0, place - 1) : place + 2])
    for weights in FUSIONS[around.fusion].around(around.weights):
        for (power, shrinkage), k1, b, feedback in product(near, K1, B, FEEDBACK):
            yield Setting(around.fusion, weights, power, shrinkage, k1, b, feedback)


def closed_forms(powers: Iterable[float]) -> list[tuple[float, float]]:
    """Powers with shrinkages; at power 0 the shrinkage does nothing."""
    return [(power, shrinkage) for power, shrinkage in product(powers, SHRINKAGES) if power or shrinkage == 1]


class Trials:
    """nDCG@10 of every setting tried so far, on every set."""

    def __init__(self, sets: Sequence[ChoosingSet]) -> None:
        self.sets = sets
        self.baselines = Baselines.of(map(Views, sets))
        self.found: dict[Setting, Values] = {}

    def run(self, settings: Iterable[Setting]) -> None:
        """Try those that were not tried yet."""
        new = list(dict.fromkeys(setting for setting in settings if setting not in self.found))
        with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
            columns = list(pool.map(ndcg_of_each, self.sets, repeat(new)))
        self.found |= dict(zip(new, np.array(columns).T, strict=True))
        print(f"{len(self.found)} settings tried", flush=True)

    def choose(self, fusion: str | None = None) -> tuple[Setting, float]:
        """The best by the rule, of all or of one fusion; and by how much the limits were widened."""
        table = {setting: found for setting, found in self.found.items() if fusion in (None, setting.fusion)}
        return choose(table, self.baselines)

    def best_of_fusions(self) -> list[Setting]:
        """The best setting of each fusion, the best fusion first."""
        best = [self.choose(fusion) for fusion in FUSIONS]
        order = sorted(best, key=lambda choice: (choice[1], -float(self.found[choice[0]].mean())))
        return [setting for setting, _ in order]


def ndcg_of_each(data: ChoosingSet, settings: Sequence[Setting]) -> list[float]:
    """nDCG@10 of settings on one set."""
    views = Views(data)
    return [data.ndcg(views.scores(setting)) for setting in settings]


def run(data: Path, cache: Path, output: Path) -> dict[str, Any]:
    """Try all stages, and choose."""
    trials = Trials(list(prepared_sets(data, cache)))
    trials.run(broad())
    fusions = trials.best_of_fusions()
    for setting in fusions[:FINE_FUSIONS]:
        trials.run(fine(setting))
    before, (chosen, widened) = None, trials.choose()
    while chosen != before:
        trials.run(fine(chosen))
        before, (chosen, widened) = chosen, trials.choose()
    command = "python benchmarks/builtin_model/choose_hybrid.py --data ../shared/data --cache ../vectors"
    return {
        "command": f"{command} --output {output}",
        "packages": {name: version(name) for name in ("torch", "numpy", "scipy", "PyStemmer")},
        "settings_tried": len(trials.found),
        "limits_widened_by": widened,
        "chosen": chosen.to_dict(),
        "sets": [
            {"set": each.name, "documents": len(each.texts), "queries": len(each.queries)} for each in trials.sets
        ],
        "rows": rows(trials, chosen, fusions),
        "one_step_away": neighbours(trials, chosen),
    }


def rows(trials: Trials, chosen: Setting, fusions: Sequence[Setting]) -> list[dict[str, Any]]:
    """What the choice is held against, each fusion's best of the first stage, and of the last; and the choice."""
    fields = [(name, None, values) for name, values in trials.baselines.by_name().items()]
    last = [setting for setting in trials.best_of_fusions() if setting not in fusions]
    fields += [(setting.fusion, setting, trials.found[setting]) for setting in (*fusions, *last)]
    fields.append(("chosen", chosen, trials.found[chosen]))
    return [
        {"row": name, "setting": setting and setting.to_dict(), **figures(trials, found)}
        for name, setting, found in fields
    ]


def neighbours(trials: Trials, chosen: Setting) -> dict[str, dict[str, Any]]:
    """Figures of the settings that differ from the choice in one thing alone."""
    found: dict[str, dict[str, Any]] = {}
    for axis in ("weights", "power", "shrinkage", "k1", "b", "feedback"):
        values = sorted({getattr(setting, axis) for setting in trials.found})
        tried = {value: replace(chosen, **{axis: value}) for value in values}
        found[axis] = {
            str(value): figures(trials, trials.found[setting])
            for value, setting in tried.items()
            if setting in trials.found
        }
    return found


def figures(trials: Trials, found: Values) -> dict[str, Any]:
    """Means in points, gains, and the worst set."""
    baselines = trials.baselines
    questions = np.array([each.name in QUESTIONS for each in trials.sets])
    minilm, better = baselines.shortfalls(found)
    return {
        "mean": round(100 * float(found.mean()), 3),
        "questions": round(100 * float(found[questions].mean()), 3),
        "domains": round(100 * float(found[~questions].mean()), 3),
        "worst_below_minilm": round(minilm, 3),
        "worst_below_better": round(better, 3),
        "ndcg@10": [round(float(value), 5) for value in found],
    }


def table(result: dict[str, Any]) -> str:
    """nDCG@10 in points: every set, the fusions, and one step from the choice."""
    return "\n\n".join((_by_set(result), _by_row(result), _by_step(result)))


def _by_set(result: dict[str, Any]) -> str:
    shown = {row["row"]: row for row in result["rows"] if row["row"] in SHOWN}
    lines = [f"| set | documents | queries | {' | '.join(SHOWN[name] for name in shown)} |"]
    lines.append("|---" * (3 + len(shown)) + "|")
    for place, each in enumerate(result["sets"]):
        figures = cells(row["ndcg@10"][place] for row in shown.values())
        lines.append(f"| {each['set']} | {each['documents']:,} | {each['queries']} | {figures} |")
    for name in ("questions", "domains", "mean"):
        lines.append(f"| **{name}** | | | {' | '.join(format(row[name], '.1f') for row in shown.values())} |")
    return "\n".join(lines)


def _by_row(result: dict[str, Any]) -> str:
    lines = [
        "| | weights | power, shrinkage | k1, b | feedback | mean | below MiniLM | below the better |",
        "|---" * 8 + "|",
    ]
    for row in result["rows"]:
        each = row["setting"]
        settings = "| | | | |"
        if each:
            settings = (f"| {', '.join(map(str, each['weights']))} | {each['power']}, {each['shrinkage']} "
                        f"| {each['k1']}, {each['b']} | {each['feedback']} |")  # fmt: skip
        name = f"{row['row']}: {each['formula']}" if each else row["row"]
        lines.append(f"| {name} {settings} {_worth(row)} |")
    return "\n".join(lines)


def _by_step(result: dict[str, Any]) -> str:
    lines = ["| | value | mean | below MiniLM | below the better |", "|---" * 5 + "|"]
    for axis, tried in result["one_step_away"].items():
        lines += [f"| {axis} | {value} | {_worth(row)} |" for value, row in tried.items()]
    return "\n".join(lines)


def _worth(row: dict[str, Any]) -> str:
    return f"{row['mean']:.2f} | {row['worst_below_minilm']:+.1f} | {row['worst_below_better']:+.1f}"


def main() -> None:
    """Choose and write the result, or print the table of a result."""
    arguments = options(__doc__ or "", table, cache={"help": "folder that vectors are kept in", "required": True})
    if arguments is not None:
        write_and_show(run(arguments.data, arguments.cache, arguments.output), arguments.output, table)


if __name__ == "__main__":
    main()
