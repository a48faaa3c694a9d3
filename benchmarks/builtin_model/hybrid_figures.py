"""What is written down of the settings of hybrid search that were tried, and its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from choosing_data import ChoosingSet, Values
from hybrid_settings import Baselines, Setting
from in_points import cells
from sets import QUESTIONS

SHOWN = {"plain": "MiniLM", "whitening": "whitening", "bm25": "BM25", "rrf": "RRF", "chosen": "chosen"}


class Figures:
    """Writes down nDCG@10 (sets,) with what can be said of it."""

    def __init__(self, sets: Sequence[ChoosingSet], baselines: Baselines) -> None:
        self.baselines = baselines
        self.is_question = np.array([each.name in QUESTIONS for each in sets])

    def of(self, found: Values) -> dict[str, Any]:
        """Means in points, and how far the worst sets are below plain MiniLM and the better of it and BM25."""
        minilm, better = self.baselines.shortfalls(found)
        means = {"mean": found, "questions": found[self.is_question], "domains": found[~self.is_question]}
        return {
            **{name: round(100 * float(values.mean()), 3) for name, values in means.items()},
            "worst_below_minilm": round(minilm, 3),
            "worst_below_better": round(better, 3),
            "ndcg@10": [round(float(value), 5) for value in found],
        }


def neighbours(figures: Figures, tried: Mapping[Setting, Values], chosen: Setting) -> dict[str, dict[str, Any]]:
    """Figures of the settings that differ from the choice in one thing alone."""
    found: dict[str, dict[str, Any]] = {}
    for axis in ("weights", "power", "shrinkage", "k1", "b", "feedback"):
        values = sorted({getattr(setting, axis) for setting in tried})
        near = {value: replace(chosen, **{axis: value}) for value in values}
        found[axis] = {str(value): figures.of(tried[each]) for value, each in near.items() if each in tried}
    return found


def table(result: dict[str, Any]) -> str:
    """nDCG@10 in points: every set, the fusions, one step from the choice, and the forms of one vector a text."""
    parts = (_by_set(result), _by_row(result), _by_step(result), _one_vector(result), _query_side(result))
    return "\n\n".join(parts)


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
        each = row.get("setting")
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


def _one_vector(result: dict[str, Any]) -> str:
    """The mean by weight and width, with the slots and length normalisation that were chosen."""
    rows, chosen = result["one_vector"]["rows"], result["one_vector"]["chosen"]
    same = [row for row in rows if all(row["setting"][name] == chosen[name] for name in ("slots", "b"))]
    title = f"one vector, {chosen['slots']} slots, b {chosen['b']}: weight"
    return _grid(title, same, "weight", "width") + f"\n\nchosen: weight {chosen['weight']}"


def _query_side(result: dict[str, Any]) -> str:
    """The mean by shift and power, with the shrinkage that was chosen."""
    rows, chosen = result["query_side"]["rows"], result["query_side"]["chosen"]
    same = [row for row in rows if row["setting"]["shrinkage"] == chosen["shrinkage"]]
    title = f"query's side, shrinkage {chosen['shrinkage']}: shift"
    return _grid(title, same, "shift", "power") + f"\n\nchosen: shift {chosen['shift']}, power {chosen['power']}"


def _grid(title: str, rows: Sequence[dict[str, Any]], down: str, across: str) -> str:
    means = {(row["setting"][down], row["setting"][across]): row for row in rows}
    columns = list(dict.fromkeys(place[1] for place in means))
    names = " | ".join(f"{across} {column}" if column else "not hashed" for column in columns)
    lines = [f"| {title} | {names} |", "|---" * (1 + len(columns)) + "|"]
    for value in dict.fromkeys(place[0] for place in means):
        each = [means[value, column] for column in columns]
        lines.append(f"| {value} | {' | '.join(format(row['mean'], '.2f') for row in each)} |")
    return "\n".join(lines)


def _worth(row: dict[str, Any]) -> str:
    return f"{row['mean']:.2f} | {row['worst_below_minilm']:+.1f} | {row['worst_below_better']:+.1f}"
