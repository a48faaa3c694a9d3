"""The summary of a training run, for people and for programs. Loads torch; import it in a command only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cde_retrievers.training.config import MEAN_NDCG, TrainingConfig
from cde_retrievers.training.run import TrainingResult
from cde_retrievers.util.counted import counted

_PREFIX = "eval_"
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure at two moments of a run."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a finished run.

    Attributes:
        base: name of the model before training.
        conditioning: its kind.
        model: directory of the trained model.
        steps: their number.
        seconds: their duration.
        loss: at the first step, and over the last ones.
        accuracy: share of queries whose own document scored highest in its batch, at the same steps.
        ndcg_at_10: by the name of the evaluation folder, before training and with the weights that are kept.
    """

    base: str
    conditioning: str
    model: Path
    steps: int
    seconds: float
    loss: Change
    accuracy: Change
    ndcg_at_10: Mapping[str, Change]

    @property
    def is_worse(self) -> bool:
        """Whether mean nDCG@10 is lower than before training."""
        changes = self.ndcg_at_10.values()
        return sum(change.last for change in changes) < sum(change.first for change in changes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": str(self.model),
            "base": self.base,
            "conditioning": self.conditioning,
            "steps": self.steps,
            "seconds": self.seconds,
            "loss": asdict(self.loss),
            "accuracy": asdict(self.accuracy),
            "ndcg_at_10": {name: {"before": it.first, "after": it.last} for name, it in self.ndcg_at_10.items()},
        }

    def lines(self, pairs: int) -> list[str]:
        """Return everything in words.

        Args:
            pairs: how many it was trained on.
        """
        return [
            f"{self.base}, {self.conditioning}, trained on {counted(pairs, 'pair')} in {counted(self.steps, 'step')}, "
            f"{self.seconds:,.0f} s",
            f"loss: {self.loss.first:.3f} at first, {self.loss.last:.3f} at last",
            f"accuracy in the batch: {self.accuracy.first:.1%} at first, {self.accuracy.last:.1%} at last",
            *(
                f"nDCG@10 on {name}: {it.first:.3f} before training, {it.last:.3f} after"
                for name, it in self.ndcg_at_10.items()
            ),
            f"the model is in {self.model}",
            f"index documents with it: cde-retrievers index docs/ --out docs_index --model {self.model}",
        ]


def summary(result: TrainingResult, config: TrainingConfig, base: str) -> Summary:
    """Return the figures that the log of a run holds.

    Args:
        result: of the run.
        config: of the run.
        base: the name of what was trained.
    """
    history = result.log_history
    losses = [entry for entry in history if "loss" in entry]
    return Summary(
        base=base,
        conditioning=result.encoder.config.conditioning.kind,
        model=result.model_path,
        steps=int(history[-1]["step"]),
        seconds=float(result.metrics["train_runtime"]),
        loss=_change(losses, "loss"),
        accuracy=_change(losses, "accuracy"),
        ndcg_at_10=_evaluations(history, config),
    )


def _change(entries: list[dict[str, Any]], name: str) -> Change:
    return Change(float(entries[0][name]), float(entries[-1][name]))


def _evaluations(history: list[dict[str, Any]], config: TrainingConfig) -> dict[str, Change]:
    """Return nDCG@10 of every folder before the first step, and of the weights that the run ended with."""
    evaluated = [entry for entry in history if f"{_PREFIX}{MEAN_NDCG}" in entry]
    before = next((entry for entry in evaluated if entry["step"] == 0), None)
    later = [entry for entry in evaluated if entry["step"] > 0]
    if before is None or not later:
        return {}
    kept = _best(later, str(config.metric_for_best_model)) if config.load_best_model_at_end else later[-1]
    names = [Path(folder).name for folder in config.evaluation]
    keys = [f"{_PREFIX}{name}_{MEAN_NDCG}" if len(names) > 1 else f"{_PREFIX}{MEAN_NDCG}" for name in names]
    return {name: Change(float(before[key]), float(kept[key])) for name, key in zip(names, keys, strict=True)}


def _best(evaluated: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Return the first evaluation with the highest figure, as the Trainer chooses."""
    return max(evaluated, key=lambda entry: entry[f"{_PREFIX}{metric.removeprefix(_PREFIX)}"])
