"""The expected effect of refitting on retrieval, as far as it was measured."""

from dataclasses import dataclass

_MEASURED_MODEL = "minilm"


@dataclass(frozen=True, slots=True)
class MeasuredGain:
    """The measured effect of refitting on corpora that had become unlike the documents of their context.

    Attributes:
        below: upper limit of the estimated share of unlike documents; the lower limit is that of the previous entry.
        mean: mean change of nDCG@10 in points.
        tenth: first decile of the change over corpora.
        ninetieth: ninth decile of the change over corpora.
    """

    below: float
    mean: float
    tenth: float
    ninetieth: float


# From benchmarks/results/drift_retrieval.json, training sets.
MEASURED_GAINS = (
    MeasuredGain(below=0.1, mean=0.03, tenth=-0.40, ninetieth=0.57),
    MeasuredGain(below=0.3, mean=0.20, tenth=-0.24, ninetieth=0.77),
    MeasuredGain(below=0.6, mean=0.60, tenth=-0.12, ninetieth=1.45),
    MeasuredGain(below=1.01, mean=0.98, tenth=-0.22, ninetieth=2.78),
)

REFIT_SHARE = 0.3
"""Share of unlike documents from which refitting gained more than half a point on average."""


def expectation(share: float, model_name: str) -> str:
    """Describe what refitting gained when about this share of a whole corpus was unlike its context."""
    gain = next(gain for gain in MEASURED_GAINS if share < gain.below)
    measured = (
        f"where a whole corpus had come to look like the new documents, refitting changed nDCG@10 by {gain.mean:+.1f} "
        f"points on average ({gain.tenth:+.1f} to {gain.ninetieth:+.1f} in 8 of 10 corpora)"
    )
    if model_name == _MEASURED_MODEL:
        return f"{measured}."
    return (
        f"with the built-in model, {measured}. {model_name!r} was not measured: compare both contexts on your queries."
    )
