"""What refitting is expected to do for retrieval, as far as it was measured."""

from dataclasses import dataclass

_MEASURED_MODEL = "minilm"


@dataclass(frozen=True, slots=True)
class MeasuredGain:
    """What refitting changed on corpora that had become unlike the documents of their context.

    Attributes:
        below: for estimated shares of unlike documents below this, and not below that of the entry before.
        mean: change of nDCG@10 in points, on average.
        tenth: a tenth of the corpora changed by this or less.
        ninetieth: a tenth of the corpora changed by this or more.
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
"""From this share of unlike documents on refitting gained more than half a point on average."""


def expectation(share: float, model_name: str) -> str:
    """What refitting gained where about this share of a whole corpus was unlike its context, in a sentence or two."""
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
